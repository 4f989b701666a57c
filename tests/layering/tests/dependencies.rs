//! Which code of others is in our programs: each with its reason, one TLS provider, one generation
//! unless said, a licence that leaves a choice. Not here: known flaws of crates, which need a list
//! from outside, and who of us may import whom (`imports.rs`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use layering::licence::{EXCEPTIONS, acceptable};
use layering::resolution::{Edges, children, resolve, resolve_workspace};
use layering::root;
use layering::rows::{Row, rows};

/// The programs, and the library with a trust decision, whose crates `guest/tcb.lock` explains.
const EXPLAINED: &[&str] = &[
    "init",
    "gpu-evidence",
    "serve",
    "engine",
    "engine-cuda",
    "verifier",
];

/// The packages whose programs are shipped.
const SHIPPED: &[&str] = &[
    "client",
    "host-agent",
    "init",
    "init-gpu",
    "gpu-evidence",
    "serve",
    "engine",
    "engine-gpu",
    "verifier-wasm",
];

/// Providers of TLS or of its cryptography, other than the one we take.
const OTHER_PROVIDERS: &[&str] = &[
    "aws-lc-fips-sys",
    "boring",
    "boring-sys",
    "graviola",
    "mbedtls",
    "native-tls",
    "openssl",
    "openssl-sys",
    "ring",
    "rustls-rustcrypto",
    "s2n-tls",
    "schannel",
    "security-framework",
];

/// What rustls stands on besides its provider: types, certificate paths, wiping, comparison.
const BESIDES_THE_PROVIDER: &[&str] = &[
    "once_cell",
    "rustls-pki-types",
    "rustls-webpki",
    "subtle",
    "zeroize",
];

type Key = (String, String);

/// What a row of `guest/tcb.lock` says besides its reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Place {
    programs: Vec<String>,
    linked: bool,
}

fn read(path: impl AsRef<Path>, table: &str, members: &[&str]) -> Vec<Row> {
    let text = std::fs::read_to_string(root().join(path)).expect("the table is there");
    rows(&text, table, members).expect("the table is in the fixed format")
}

fn lock() -> Vec<Row> {
    let members = ["name", "version", "programs", "reason"];
    read("guest/tcb.lock", "crate", &members)
}

fn key(row: &Row) -> Key {
    (row.text("name").to_owned(), row.text("version").to_owned())
}

fn resolved() -> BTreeMap<Key, Place> {
    let mut places: BTreeMap<Key, Place> = BTreeMap::new();
    for program in EXPLAINED {
        let linked = resolve(&[program], Edges::Linked).unwrap();
        for package in resolve(&[program], Edges::Whole).unwrap() {
            let is_linked = linked.contains(&package);
            let place = places.entry((package.name, package.version)).or_default();
            place.programs.push((*program).to_owned());
            place.linked |= is_linked;
        }
    }
    places
}

fn row((name, version): &Key, place: &Place) -> String {
    let reason = if place.linked { "" } else { "build only: " };
    let programs = &place.programs;
    format!(
        "[[crate]]\nname = \"{name}\"\nversion = \"{version}\"\nprograms = {programs:?}\n\
         reason = \"{reason}\"\n"
    )
}

#[test]
fn the_lock_lists_what_is_resolved_and_nothing_else() {
    let resolved = resolved();
    let listed: BTreeMap<Key, Place> = lock()
        .iter()
        .map(|row| {
            let programs = row.list("programs").to_vec();
            let linked = !row.text("reason").starts_with("build only: ");
            (key(row), Place { programs, linked })
        })
        .collect();
    let only_in = |one: &BTreeMap<Key, Place>, other: &BTreeMap<Key, Place>| -> String {
        one.iter()
            .filter(|(key, place)| other.get(*key) != Some(place))
            .map(|(key, place)| row(key, place) + "\n")
            .collect()
    };
    let add = only_in(&resolved, &listed);
    let remove = only_in(&listed, &resolved);
    assert!(
        add.is_empty() && remove.is_empty(),
        "guest/tcb.lock differs\n\nadd, with a reason:\n\n{add}\nremove:\n\n{remove}"
    );
}

#[test]
fn programs_for_gpus_hold_what_the_lock_explains_of_others() {
    for (program, of) in [
        ("init-gpu", ["init", "verifier"]),
        ("engine-gpu", ["engine", "engine-cuda"]),
    ] {
        let held: BTreeSet<Key> = resolve(&[program], Edges::Whole)
            .unwrap()
            .into_iter()
            .map(|package| (package.name, package.version))
            .collect();
        let explained = lock().into_iter();
        let explained = explained.filter(|row| {
            let programs = row.list("programs");
            programs.iter().any(|found| of.contains(&found.as_str()))
        });
        let explained: BTreeSet<Key> = explained.map(|row| key(&row)).collect();
        let missing: Vec<_> = held.difference(&explained).collect();
        assert!(missing.is_empty(), "{program} holds besides: {missing:?}");
    }
}

#[test]
fn the_lock_is_sorted_lists_nothing_twice_and_has_a_reason_for_each() {
    let lock = lock();
    for pair in lock.windows(2) {
        assert!(key(&pair[0]) < key(&pair[1]), "{:?}", key(&pair[1]));
    }
    for row in &lock {
        let reason = row.text("reason").trim_start_matches("build only:");
        assert!(!reason.trim().is_empty(), "{:?} has no reason", key(row));
    }
}

#[test]
fn no_program_holds_a_second_tls_provider() {
    let found: Vec<String> = resolve_workspace(Edges::Normal)
        .unwrap()
        .into_iter()
        .map(|package| package.name)
        .filter(|name| OTHER_PROVIDERS.contains(&name.as_str()))
        .collect();
    assert!(
        found.is_empty(),
        "`cargo tree -i` says who brings: {found:?}"
    );
}

#[test]
fn rustls_stands_on_aws_lc_alone() {
    let mut under = children("rustls").unwrap();
    under.retain(|name| !BESIDES_THE_PROVIDER.contains(&name.as_str()));
    assert_eq!(under, BTreeSet::from(["aws-lc-rs".to_owned()]));
}

#[test]
fn two_generations_of_a_crate_are_in_shipped_programs_only_with_a_reason() {
    let mut generations: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in resolve(SHIPPED, Edges::Normal).unwrap() {
        let generation = package.generation();
        generations
            .entry(package.name)
            .or_default()
            .insert(generation);
    }
    generations.retain(|_, found| found.len() > 1);
    let path = "tests/layering/duplicates.toml";
    let rows = read(path, "duplicate", &["name", "generations", "reason"]);
    let names: Vec<&str> = rows.iter().map(|row| row.text("name")).collect();
    assert!(
        names.is_sorted_by(|a, b| a < b),
        "not sorted, or twice: {names:?}"
    );
    let mut listed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in &rows {
        assert!(!row.text("reason").is_empty(), "{row:?} has no reason");
        let found = row.list("generations").iter().cloned().collect();
        listed.insert(row.text("name").to_owned(), found);
    }
    let all: BTreeSet<&String> = generations.keys().chain(listed.keys()).collect();
    for name in all {
        let (found, said) = (generations.get(name), listed.get(name));
        assert_eq!(found, said, "`{name}`: resolved, and in {path}");
    }
}

#[test]
fn the_licence_of_every_crate_in_a_shipped_program_leaves_a_choice() {
    let refused: BTreeMap<String, String> = resolve(SHIPPED, Edges::Whole)
        .unwrap()
        .into_iter()
        .filter(|package| !acceptable(&package.licence))
        .map(|package| (package.name, package.licence))
        .collect();
    let unlisted: Vec<_> = refused
        .iter()
        .filter(|(name, _)| !EXCEPTIONS.iter().any(|(listed, _)| listed == name))
        .collect();
    assert!(unlisted.is_empty(), "licences to read: {unlisted:#?}");
    for (name, reason) in EXCEPTIONS {
        assert!(refused.contains_key(*name), "`{name}` needs no exception");
        assert!(!reason.is_empty(), "`{name}` has no reason");
    }
}
