//! Texts at the edge of what is read of a manifest and of a device's own words.

use super::super::opaque::OpaqueData;
use super::*;

/// The type of the field that names a chip's variant.
const CHIP_SKU: u16 = 15;

#[test]
fn an_end_tag_may_have_white_space_behind_its_name_and_nothing_else() {
    for good in ["<a><b></b></a>", "<a><b></b ></a\n>"] {
        assert!(xml::parse(good.as_bytes()).is_some(), "{good}");
    }
    for bad in [
        "<a><b></ b></a>",
        "<a><b></b x></a>",
        "<a><b></b></a x=\"\">",
    ] {
        assert!(xml::parse(bad.as_bytes()).is_none(), "{bad}");
    }
}

#[test]
fn a_signers_certificate_stands_under_no_other_name() {
    let (rim, _) = simulated();
    let text = String::from_utf8(rim.document).unwrap();
    let root = xml::parse(text.as_bytes()).unwrap();
    assert!(XmlSignature::read(&root).is_some());
    let other = text.replace("X509Certificate>", "X509Certificates>");
    assert_ne!(other, text);
    let root = xml::parse(other.as_bytes()).unwrap();
    assert!(XmlSignature::read(&root).is_none());
}

/// A genuine device's own words, with another variant of its chip.
fn with_sku(sku: &[u8]) -> Vec<u8> {
    let evidence = GpuEvidence::decode(SINGLE).unwrap();
    let report = SpdmReport::parse(&evidence.devices[0].report).unwrap();
    let (mut rest, mut out) = (report.opaque, Vec::new());
    while let [k0, k1, l0, l1, behind @ ..] = rest {
        let (value, next) = behind.split_at(usize::from(u16::from_le_bytes([*l0, *l1])));
        let kind = u16::from_le_bytes([*k0, *k1]);
        let value = if kind == CHIP_SKU { sku } else { value };
        out.extend(kind.to_le_bytes());
        out.extend(u16::try_from(value.len()).unwrap().to_le_bytes());
        out.extend(value);
        rest = next;
    }
    out
}

#[test]
fn a_devices_text_is_of_letters_and_digits_not_empty_not_long_and_ends_with_zeros() {
    let read = |sku: &[u8]| OpaqueData::parse(&with_sku(sku), DeviceKind::Hopper);
    for good in [&b"885"[..], b"885\0\0", b"a-B_9.", &[b'8'; 64]] {
        assert!(read(good).is_some(), "{good:?}");
    }
    let padded = [&[b'8'; 64][..], &[0; 9]].concat();
    assert!(read(&padded).is_some());
    for bad in [&b""[..], b"\0\0", b"8 8", b"8\08", &[b'8'; 65]] {
        assert!(read(bad).is_none(), "{bad:?}");
    }
}

#[test]
fn names_of_manifests_are_nvidias() {
    let evidence = GpuEvidence::decode(SINGLE).unwrap();
    let report = SpdmReport::parse(&evidence.devices[0].report).unwrap();
    let data = OpaqueData::parse(report.opaque, DeviceKind::Hopper).unwrap();
    let ids = RimIds::of(DeviceKind::Hopper, &data);
    assert_eq!(ids.driver.as_deref(), Some("NV_GPU_DRIVER_GH100_550.90.07"));
    assert_eq!(ids.firmware, "NV_GPU_VBIOS_1010_0200_882_96009F0001");
}
