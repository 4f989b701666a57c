//! The input that differs is named: one deviation at a time, from the register alone.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

use std::io::Read as _;

use measurements::explain::{Input, OtherImage, document, snp, tdx};
use measurements::firmware::Firmware;
use measurements::release::BootArtifacts;
use measurements::snp::{DirectBoot, SnpShape, launch_digest};
use measurements::snp_vmsa::VcpuType;
use measurements::tdx::{PageOrder, mrtd, replay, rtmr2_events};
use serde_json::json;

fn unpacked(packed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(packed)
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

fn artifacts() -> BootArtifacts {
    BootArtifacts {
        firmware: unpacked(include_bytes!("../../image/firmware/OVMF.fd.gz")),
        kernel: b"kernel".to_vec(),
        initrd: b"initrd".to_vec(),
        command_line: "cocoon.root=r panic=-1".to_owned(),
    }
}

const SHAPE: SnpShape = SnpShape {
    vcpus: 2,
    vcpu_type: VcpuType::Genoa,
    guest_features: 1,
};

/// The inputs that explain a launch of other artifacts, or of another shape.
fn inputs(launched: &BootArtifacts, boot: Option<&DirectBoot<'_>>, shape: &SnpShape) -> Vec<Input> {
    let firmware = Firmware::parse(&launched.firmware).unwrap();
    let found = launch_digest(&firmware, boot, shape).unwrap();
    let other = OtherImage {
        name: "other".to_owned(),
        artifacts: BootArtifacts {
            kernel: b"another kernel".to_vec(),
            ..artifacts()
        },
    };
    let causes = snp::explain(&artifacts(), &[other], &SHAPE, &found).unwrap();
    causes
        .unwrap()
        .into_iter()
        .map(|cause| cause.input)
        .collect()
}

#[test]
fn each_deviation_of_a_launch_is_named() {
    let good = artifacts();
    let boot = good.boot();
    let found = |boot: DirectBoot<'_>| inputs(&good, Some(&boot), &SHAPE);
    assert_eq!(found(boot), []);
    for vcpus in [1, 3, 256] {
        let shape = SnpShape { vcpus, ..SHAPE };
        assert_eq!(inputs(&good, Some(&boot), &shape), [Input::VcpuCount]);
    }
    let vcpu_type = VcpuType::Milan;
    let shape = SnpShape { vcpu_type, ..SHAPE };
    assert_eq!(inputs(&good, Some(&boot), &shape), [Input::VcpuType]);
    let guest_features = 0x21;
    let shape = SnpShape {
        guest_features,
        ..SHAPE
    };
    assert_eq!(inputs(&good, Some(&boot), &shape), [Input::GuestFeatures]);
    assert_eq!(inputs(&good, None, &SHAPE), [Input::Kernel]);
    assert_eq!(
        found(DirectBoot {
            initrd: b"",
            ..boot
        }),
        [Input::Initrd]
    );
    for command_line in ["", "panic=-1", "cocoon.root=r panic=-1 console=ttyS0"] {
        let line = DirectBoot {
            command_line,
            ..boot
        };
        assert_eq!(found(line), [Input::CommandLine], "{command_line}");
    }
    let kernel = b"another kernel";
    assert_eq!(found(DirectBoot { kernel, ..boot }), [Input::Kernel]);
    let both = SnpShape { vcpus: 4, ..SHAPE };
    let initrd = b"";
    assert_eq!(
        inputs(&good, Some(&DirectBoot { initrd, ..boot }), &both),
        [Input::Initrd, Input::VcpuCount]
    );
}

#[test]
fn a_digest_that_nothing_known_leads_to_stays_unexplained() {
    let found = protocol::digest::LaunchDigest([7; 48]);
    assert_eq!(snp::explain(&artifacts(), &[], &SHAPE, &found), Ok(None));
}

#[test]
fn the_registers_of_a_td_name_the_order_of_pages_and_the_command_line() {
    let good = artifacts();
    let firmware = Firmware::parse(&good.firmware).unwrap();
    let two_pass = mrtd(&firmware, PageOrder::TwoPass).unwrap();
    assert_eq!(tdx::mrtd(&good, &[], &two_pass).input, Input::PageOrder);
    let command_line = "cocoon.root=r panic=-1 init=/bin/sh";
    let boot = DirectBoot {
        command_line,
        ..good.boot()
    };
    let found = replay(&rtmr2_events(&boot));
    let causes = tdx::rtmr2(&good, &[], &found);
    assert_eq!(causes.len(), 1);
    assert_eq!(causes[0].input, Input::CommandLine);
    assert!(causes[0].found.contains("init=/bin/sh"), "{causes:?}");
}

#[test]
fn documents_that_are_too_long_or_no_json_are_refused() {
    let long = vec![b' '; document::MAX_BYTES + 1];
    assert_eq!(
        document::parse(&long),
        Err(document::DocumentError::TooLong)
    );
    for text in ["", "{", "[1,", "[[[[", "{}{}"] {
        let refused = document::parse(text.as_bytes()).unwrap_err();
        let malformed = matches!(refused, document::DocumentError::Malformed { .. });
        assert!(malformed, "{text}");
    }
}

#[test]
fn namesakes_in_one_list_are_compared_in_their_order() {
    let twice = json!([{ "id": "a", "vcpus": 1 }, 7, { "id": "a", "vcpus": 2 }]);
    assert_eq!(document::differences(&twice, &twice), []);
    let other = json!([{ "id": "a", "vcpus": 1 }, 7, { "id": "a", "vcpus": 3 }]);
    let causes = document::differences(&twice, &other);
    assert_eq!(causes.len(), 1);
    assert_eq!(causes[0].expected, "[a].vcpus: 2");
    let fewer = json!([{ "id": "a", "vcpus": 1 }, 8]);
    let causes = document::differences(&twice, &fewer);
    assert_eq!(causes.len(), 2);
    assert_eq!(
        (causes[0].found.as_str(), causes[1].found.as_str()),
        ("[1]: 8", "[a]: absent")
    );
}

#[test]
fn documents_differ_by_their_members_whatever_the_order_of_their_lists() {
    let expected = json!({
        "profile": "release",
        "shapes": [{ "name": "a", "vcpus": 2, "memory_mib": 2048 }, { "name": "b", "vcpus": 8 }],
        "files": { "bzImage": { "sha256": "aa" }, "OVMF.fd": { "sha256": "bb" } },
    });
    let mut found = expected.clone();
    found["shapes"] = json!([expected["shapes"][1], expected["shapes"][0]]);
    assert_eq!(document::differences(&expected, &found), []);
    found["shapes"][1]["vcpus"] = json!(4);
    found["shapes"][1]["memory_mib"] = json!(4096);
    found["files"]["bzImage"]["sha256"] = json!("cc");
    found["files"]["root.img"] = json!({ "sha256": "dd" });
    found["profile"] = json!("research");
    let causes = document::differences(&expected, &found);
    let inputs: Vec<Input> = causes.iter().map(|cause| cause.input).collect();
    for input in [
        Input::VcpuCount,
        Input::Memory,
        Input::Kernel,
        Input::Root,
        Input::Release,
    ] {
        assert!(inputs.contains(&input), "{input:?} in {causes:?}");
    }
    assert_eq!(inputs.len(), 5);
}
