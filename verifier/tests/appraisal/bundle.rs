//! Bundles: the same appraisal from a file, without the connection.

use mock_tee::tdx::QuoteVersion;
use protocol::digest::Nonce;
use protocol::tee::TeeKind;
use verifier::{
    Binding, Bundle, BundleAppraisal, BundleError, Decision, DocumentDigest, MeasuredRegisters,
    Pin, Rejection, appraise_bundle,
};

use crate::world::{MEASUREMENT, REGISTERS, World};

fn appraise(world: &World, bundle: &Bundle, pin: Pin<'_>) -> BundleAppraisal {
    appraise_bundle(bundle, pin, &world.policy, &world.anchors, world.at)
}

#[test]
fn a_bundle_round_trips_and_gets_the_verdict_of_the_connection_but_for_the_binding() {
    for world in [World::genoa(), World::tdx(QuoteVersion::V5)] {
        let bytes = world.bundle().encode().unwrap();
        let bundle = Bundle::decode(&bytes).unwrap();
        assert_eq!(bundle, world.bundle());
        let found = appraise(&world, &bundle, Pin::Values(&world.references));
        assert_eq!(found.verdict.decision(), Decision::Accepted);
        assert_eq!(found.verdict.channel_binding(), Binding::NotChecked);
        let result = found.result.unwrap();
        assert_eq!(result.statement(), &world.statement);
        assert_eq!(result.shape(), "cpu-2x2048");
        let text = found.verdict.to_json().unwrap();
        assert!(
            text.contains(r#""channel_binding":"not checked""#),
            "{text}"
        );
        let own = world.appraise_in_full(&world.evidence()).verdict;
        let (pinned, rest) = found.verdict.checks().split_first().unwrap();
        assert_eq!(pinned.check, Rejection::ReferencesNotPinned);
        assert_eq!(rest, own.checks());
    }
}

#[test]
fn what_a_report_claims_to_have_measured_is_read_of_its_own_kind_alone() {
    let of = |world: World| world.evidence().report;
    let (snp, tdx) = (of(World::genoa()), of(World::tdx(QuoteVersion::V5)));
    let claimed = MeasuredRegisters::claimed;
    let measured = MeasuredRegisters::SevSnp(MEASUREMENT);
    assert_eq!(claimed(TeeKind::SevSnp, &snp), Some(measured));
    let (mrtd, rtmrs) = (REGISTERS.mrtd, REGISTERS.rtmrs);
    let measured = MeasuredRegisters::Tdx { mrtd, rtmrs };
    assert_eq!(claimed(TeeKind::Tdx, &tdx), Some(measured));
    for (tee, report) in [
        (TeeKind::Tdx, snp.as_slice()),
        (TeeKind::SevSnp, &tdx),
        (TeeKind::SevSnp, &[]),
        (TeeKind::Tdx, &[]),
    ] {
        assert_eq!(claimed(tee, report), None, "{tee:?}");
    }
}

#[test]
fn a_bundles_own_reference_values_count_only_by_their_digest() {
    let world = World::genoa();
    let bundle = world.bundle();
    let own = DocumentDigest::of_references(&world.references);
    assert!(appraise(&world, &bundle, Pin::Digest(own)).result.is_ok());
    let refused = Err(Rejection::ReferencesNotPinned);
    assert_eq!(appraise(&world, &bundle, Pin::Nothing).result, refused);
    let other = DocumentDigest([0; 32]);
    assert_eq!(
        appraise(&world, &bundle, Pin::Digest(other)).result,
        refused
    );
    let mut narrower = world.references.clone();
    narrower.shapes.clear();
    let found = appraise(&world, &bundle, Pin::Values(&narrower));
    assert_eq!(found.result, Err(Rejection::RegistersUnknown));
}

#[test]
fn a_bundle_of_a_refused_connection_is_refused_for_the_same_reason() {
    let world = World::genoa();
    let mut bundle = world.bundle();
    bundle.channel.nonce = Nonce([9; 32]);
    let found = appraise(&world, &bundle, Pin::Values(&world.references));
    assert_eq!(found.result, Err(Rejection::FreshnessMismatch));
}

#[test]
fn no_prefix_and_nothing_longer_is_a_bundle() {
    let bytes = World::genoa().bundle().encode().unwrap();
    for end in 0..bytes.len() {
        assert!(Bundle::decode(&bytes[..end]).is_err(), "{end} bytes");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(matches!(
        Bundle::decode(&longer),
        Err(BundleError::Malformed(_))
    ));
    let huge = vec![0; 10 * 1024 * 1024];
    assert_eq!(Bundle::decode(&huge), Err(BundleError::TooLong));
    let mut other = bytes;
    other[8] = 2;
    assert_eq!(
        Bundle::decode(&other),
        Err(BundleError::Version { found: 2 })
    );
}

#[test]
fn a_bundle_whose_parts_are_not_what_they_should_be_says_which() {
    let world = World::genoa();
    let bytes = world.bundle().encode().unwrap();
    let evidence = 8 + 2 + 8 + 96 + 4;
    let mut bad = bytes.clone();
    bad[evidence] ^= 1; // the evidence's magic
    assert!(matches!(
        Bundle::decode(&bad),
        Err(BundleError::Evidence(_))
    ));
    let mut bad = bytes;
    let last = bad.len() - 3; // inside the reference values, before `}` and the line's end
    bad[last] = b'!';
    assert!(matches!(
        Bundle::decode(&bad),
        Err(BundleError::References(_))
    ));
}
