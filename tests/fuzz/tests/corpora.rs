//! The committed seeds, given to the functions that the fuzzers run: an input that once crashed a
//! parser is a seed for good.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests state claims; a panic is the failure"
)]

use std::collections::BTreeSet;
use std::path::Path;

use fuzz_targets::honest::{Machine, appraise};
use fuzz_targets::{Outcome, TARGETS, corpus, corpus_folder};

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
