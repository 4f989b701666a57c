//! Manifests that NVIDIA signed for tests of its own, without a device: they verify, since whoever
//! holds the key may sign anything, and they list what no device measures.

use super::*;

const FIRMWARE: &[u8] =
    include_bytes!("../../../../tests/fixtures/nvidia/manifests/no-device/firmware.swidtag");
const NO_DRIVER: &[u8] =
    include_bytes!("../../../../tests/fixtures/nvidia/manifests/no-device/driver.swidtag");

#[test]
fn a_manifest_for_no_device_verifies_and_lists_other_values_than_the_genuine_one() {
    let genuine = verify(GENUINE[0].0, EARLY).unwrap();
    let other = verify(FIRMWARE, LATER).unwrap();
    assert_eq!(other.version, genuine.version);
    let values = |rim: &Rim| rim.active.values().flatten().copied().collect::<Vec<_>>();
    let (listed, own) = (values(&genuine), values(&other));
    assert_eq!(
        own.iter().filter(|value| !listed.contains(value)).count(),
        4
    );
    assert!(verify(NO_DRIVER, LATER).is_ok());
}

#[test]
fn no_genuine_device_fits_a_manifest_for_no_device() {
    let evidence = GpuEvidence::decode(SINGLE).unwrap();
    let report = SpdmReport::parse(&evidence.devices[0].report).unwrap();
    for document in [FIRMWARE, NO_DRIVER] {
        let rim = verify(document, LATER).unwrap();
        let fits = |(index, accepted): (&u8, &Vec<[u8; 48]>)| {
            let measured = report.value(*index);
            measured.is_some_and(|value| accepted.contains(value))
        };
        assert!(!rim.active.iter().all(fits));
    }
}
