//! What cargo resolves for a program of ours: crates of others in its tree, with their licences.
//!
//! It asks `cargo tree` and not `cargo metadata`: the metadata unifies features over the whole
//! workspace and its tests and keeps edges that no build takes (`rustls-webpki` to `ring`), so it
//! shows crates that are in no program. What is not here: what is allowed (`tests/`).

use std::collections::BTreeSet;
use std::io::{Error, Result};
use std::process::Command;

use crate::root;

/// The target of every program that is shipped.
pub const TARGET: &str = "x86_64-unknown-linux-gnu";

/// A crate of others, ordered by name, then version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Its name in the registry.
    pub name: String,
    /// Its whole version.
    pub version: String,
    /// Its licence expression as its manifest states it; empty when it states none.
    pub licence: String,
}

impl Package {
    /// Versions of one generation may stand for each other: `1`, `0.22`, `0.0.3`.
    #[must_use]
    pub fn generation(&self) -> String {
        let numbers: Vec<&str> = self.version.split(['.', '-', '+']).take(3).collect();
        match numbers.as_slice() {
            ["0", "0", patch] => format!("0.0.{patch}"),
            ["0", minor, ..] => format!("0.{minor}"),
            [major, ..] => (*major).to_owned(),
            [] => String::new(),
        }
    }
}

/// Which part of a tree is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edges {
    /// What the program itself holds: no macros, no build scripts.
    Linked,
    /// That, and macros.
    Normal,
    /// That, and build scripts.
    Whole,
}

impl Edges {
    fn argument(self) -> &'static str {
        match self {
            Self::Linked => "normal,no-proc-macro",
            Self::Normal => "normal",
            Self::Whole => "normal,build",
        }
    }
}

/// The crates of others in the tree of these packages of ours, built together.
///
/// # Errors
/// Cargo does not run, refuses, or prints what is not a tree.
pub fn resolve(programs: &[&str], edges: Edges) -> Result<BTreeSet<Package>> {
    let packages = programs.iter().flat_map(|program| ["-p", program]);
    listed(&tree(packages.collect(), edges, "none")?)
}

/// The crates of others in the tree of the whole workspace.
///
/// # Errors
/// Those of [`resolve`].
pub fn resolve_workspace(edges: Edges) -> Result<BTreeSet<Package>> {
    listed(&tree(vec!["--workspace"], edges, "none")?)
}

/// The names of the crates of others that the crate `parent` names and that are in the workspace's
/// tree.
///
/// # Errors
/// Those of [`resolve`].
pub fn children(parent: &str) -> Result<BTreeSet<String>> {
    let text = tree(vec!["--workspace"], Edges::Normal, "depth")?;
    let mut found = BTreeSet::new();
    let mut inside = None;
    for line in text.lines() {
        let name = line.trim_start_matches(|c: char| c.is_ascii_digit());
        let depth = line.len().saturating_sub(name.len());
        let Some(depth) = line.get(..depth).and_then(|d| d.parse::<usize>().ok()) else {
            continue;
        };
        let Some(package) = package(name)? else {
            inside = None;
            continue;
        };
        if inside.is_some_and(|at: usize| at.saturating_add(1) == depth) {
            found.insert(package.name.clone());
        } else if inside.is_none_or(|at| depth <= at) {
            inside = (package.name == parent).then_some(depth);
        }
    }
    Ok(found)
}

fn tree(packages: Vec<&str>, edges: Edges, prefix: &str) -> Result<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--quiet"])
        .args(["--target", TARGET, "--edges", edges.argument()])
        .args(["--prefix", prefix, "--format", "{p}\t{l}"])
        .args(packages)
        .current_dir(root())
        .output()?;
    if !output.status.success() {
        return Err(Error::other(
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ));
    }
    String::from_utf8(output.stdout).map_err(Error::other)
}

fn listed(text: &str) -> Result<BTreeSet<Package>> {
    let lines = text.lines().filter(|line| !line.is_empty());
    lines
        .filter_map(|line| package(line).transpose())
        .collect::<Result<BTreeSet<_>>>()
}

/// One line: `name v1.2.3 (proc-macro)`, a tab, the licence, ` (*)` when printed before. A package
/// of ours has its folder in brackets and is `None`.
fn package(line: &str) -> Result<Option<Package>> {
    let strange = || Error::other(format!("not a line of a tree: {line}"));
    let line = line.strip_suffix(" (*)").unwrap_or(line);
    let (package, licence) = line.split_once('\t').ok_or_else(strange)?;
    if package.contains(" (/") {
        return Ok(None);
    }
    let mut words = package.split(' ');
    let name = words.next().filter(|name| !name.is_empty());
    let version = words.next().and_then(|word| word.strip_prefix('v'));
    let (name, version) = name.zip(version).ok_or_else(strange)?;
    Ok(Some(Package {
        name: name.to_owned(),
        version: version.to_owned(),
        licence: licence.to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "tests state claims; a panic is the failure"
    )]

    use super::*;

    fn read(line: &str) -> Package {
        package(line).unwrap().unwrap()
    }

    #[test]
    fn a_line_gives_name_version_and_licence_whatever_cargo_adds_to_it() {
        let plain = read("syn v2.0.1\tMIT OR Apache-2.0");
        assert_eq!(
            (plain.name.as_str(), plain.version.as_str()),
            ("syn", "2.0.1")
        );
        assert_eq!(plain.licence, "MIT OR Apache-2.0");
        assert_eq!(plain, read("syn v2.0.1\tMIT OR Apache-2.0 (*)"));
        assert_eq!(plain, read("syn v2.0.1 (proc-macro)\tMIT OR Apache-2.0"));
        assert_eq!(read("old v1.0.0\t").licence, "");
    }

    #[test]
    fn a_package_of_ours_is_no_package_of_others_but_one_from_a_repository_is() {
        assert_eq!(
            package("serve v0.1.0 (/w/guest/serve)\tApache-2.0").unwrap(),
            None
        );
        assert_eq!(read("x v0.1.0 (https://host/x?rev=1#1)\tMIT").name, "x");
        assert!(package("warning: something").is_err());
    }

    #[test]
    fn a_generation_is_the_leftmost_number_that_is_not_zero() {
        for (version, generation) in [
            ("1.2.3", "1"),
            ("0.22.1", "0.22"),
            ("0.0.3", "0.0.3"),
            ("0.103.15+dcap.1", "0.103"),
            ("12.0.0-rc.1", "12"),
        ] {
            assert_eq!(read(&format!("x v{version}\tMIT")).generation(), generation);
        }
    }
}
