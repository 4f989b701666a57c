//! The committed seeds, given to the functions that the fuzzers run: an input that once crashed a
//! parser is a seed for good.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests state claims; a panic is the failure"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use fuzz_targets::honest::{Machine, appraise};
use fuzz_targets::{Outcome, TARGETS, corpus, corpus_folder};
use protocol::evidence::Evidence;
use verifier::Rejection;

#[test]
fn no_seed_crashes_its_target_and_every_target_takes_one_of_its_seeds() {
    for target in TARGETS {
        let seeds = corpus(target.name);
        let outcomes: Vec<Outcome> = seeds.iter().map(|(_, seed)| (target.run)(seed)).collect();
        assert!(
            outcomes.contains(&Outcome::Taken),
            "`{}` takes none of its {} seeds",
            target.name,
            seeds.len()
        );
    }
}

/// Seeds that are refused behind the parser, beside those of [`LIES`] and of `src/hostile`.
const REFUSED: &[(&str, &str)] = &[
    // A chain of nothing.
    ("pem_chain", "nothing"),
    // Of a real machine, in the place of that part of a simulated one's evidence.
    ("snp_report", "milan-real"),
    ("snp_certificates", "milan-real"),
    ("tdx_quote", "v4-real"),
    ("tdx_quote", "v5-real"),
    ("tdx_collateral", "real"),
];

/// Whole evidence that lies about one thing, and how far it gets.
const LIES: &[(&str, Rejection)] = &[
    ("genoa-debug", Rejection::SnpDebug),
    ("genoa-id-block", Rejection::SnpIdBlock),
    ("genoa-migratable", Rejection::SnpMigratable),
    ("genoa-no-alias-check", Rejection::SnpAliasCheck),
    ("genoa-other-measurement", Rejection::RegistersUnknown),
    ("genoa-revoked", Rejection::CertificateRevoked),
    ("genoa-tcb-low", Rejection::SnpTcbBelowMinimum),
    ("genoa-tcb-order", Rejection::SnpTcbOrder),
    ("genoa-unlisted-stepping", Rejection::SnpTcbUnlisted),
    ("genoa-vmpl", Rejection::SnpVmpl),
    ("tdx-advisory", Rejection::TdxAdvisory),
    ("tdx-out-of-date", Rejection::TdxTcbStatus),
    ("tdx-revoked", Rejection::CertificateRevoked),
    ("tdx-rtmr3", Rejection::TdxRtmr3),
    ("tdx-service-td", Rejection::TdxServiceTd),
];

#[test]
fn every_seed_that_is_there_to_be_taken_is_taken() {
    let lies = LIES.iter().map(|(name, _)| ("appraise", *name));
    let refused: BTreeSet<_> = REFUSED.iter().copied().chain(lies).collect();
    let mut wrong = Vec::new();
    for target in TARGETS {
        for (name, seed) in corpus(target.name) {
            let expected = match refused.contains(&(target.name, name.as_str())) {
                true => Outcome::Refused,
                false => Outcome::Taken,
            };
            // What a hostile input ends in, its own row says: tests/bounds.rs.
            if !name.starts_with("hostile-") && (target.run)(&seed) != expected {
                wrong.push(format!("{}/{name}, not {expected:?}", target.name));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn every_lying_seed_is_refused_for_its_own_lie() {
    let seeds: BTreeMap<_, _> = corpus("appraise").into_iter().collect();
    for (name, reason) in LIES {
        let evidence = Evidence::decode(&seeds[*name]).unwrap();
        assert_eq!(appraise(&evidence).err(), Some(*reason), "{name}");
    }
}

#[test]
fn targets_programs_and_folders_of_seeds_have_the_same_names() {
    let names = |folder: &Path| -> BTreeSet<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let name = |path: &Path| path.file_stem().unwrap().to_string_lossy().into_owned();
        entries.map(|entry| name(&entry.unwrap().path())).collect()
    };
    let targets: BTreeSet<String> = TARGETS.iter().map(|t| t.name.to_owned()).collect();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert_eq!(names(&here.join("libfuzzer/src/bin")), targets, "programs");
    assert_eq!(names(&corpus_folder("")), targets, "folders of seeds");
}

#[test]
fn seeds_stay_small() {
    let bytes = |name: &str| -> usize { corpus(name).iter().map(|(_, seed)| seed.len()).sum() };
    let all: usize = TARGETS.iter().map(|target| bytes(target.name)).sum();
    assert!(all < 2 << 20, "{all} bytes of seeds");
}

#[test]
fn the_evidence_that_targets_change_is_accepted_unchanged() {
    for machine in Machine::ALL {
        assert!(appraise(machine.evidence()).is_ok(), "{machine:?}");
    }
}
