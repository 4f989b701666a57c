//! Every rejection has a fixture that provokes it and a line in the specification.

use std::collections::BTreeSet;

use mock_tee::Lie;
use mock_tee::nvidia::DeviceLie;
use verifier::Rejection;

use crate::{binding, grant, nvidia, snp, tdx};

/// Provoked by a test of its own rather than by a row of a table.
const BY_A_TEST_OF_ITS_OWN: &[Rejection] = &[
    Rejection::ResearchCertificate,
    Rejection::ReferencesNotPinned,
];
/// Asked for only where a policy wants a mitigation: `snp.rs`, a test of its own.
const LIES_OF_THEIR_OWN: &[Lie] = &[Lie::LaunchMitigation];

#[test]
fn the_tables_name_every_lie() {
    for lie in Lie::ALL {
        let mut rows = snp::LIES.iter().chain(tdx::LIES);
        let row = rows.any(|(named, _)| named == lie);
        assert!(row || LIES_OF_THEIR_OWN.contains(lie), "{lie}");
    }
    for lie in DeviceLie::ALL {
        let mut rows = nvidia::LIES.iter();
        assert!(rows.any(|(named, _)| named == lie), "{lie:?}");
    }
}

#[test]
fn every_rejection_is_provoked_by_a_fixture() {
    let lies = snp::LIES.iter().chain(tdx::LIES).map(|(_, reason)| *reason);
    let devices = nvidia::LIES.iter().map(|(_, reason)| *reason);
    let changes = binding::CHANGES.iter().chain(tdx::CHANGES);
    let changes = changes.chain(nvidia::CHANGES).chain(grant::CHANGES);
    let changes = changes.map(|(_, reason, _)| *reason);
    let own = BY_A_TEST_OF_ITS_OWN.iter().copied();
    let provoked: BTreeSet<_> = lies.chain(devices).chain(changes).chain(own).collect();
    let missing: Vec<_> = Rejection::ALL
        .iter()
        .filter(|r| !provoked.contains(r))
        .collect();
    assert_eq!(missing, Vec::<&Rejection>::new());
}

#[test]
fn there_are_at_least_sixty_codes() {
    assert!(Rejection::ALL.len() >= 60, "{}", Rejection::ALL.len());
}

#[test]
fn every_rejection_has_a_line_in_the_specification_and_no_other_has() {
    let page = include_str!("../../../docs/spec/rejections.md");
    let listed: BTreeSet<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(code, _)| code)
        .collect();
    let known: BTreeSet<_> = Rejection::ALL.iter().map(|r| r.code()).collect();
    assert_eq!(listed, known);
}
