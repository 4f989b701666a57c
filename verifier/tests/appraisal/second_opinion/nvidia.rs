//! NVIDIA's devices: reports, chains and answers about revocation before `openssl`, signed
//! manifests before `xmlsec1`, which is a whole implementation of XML-DSig.
//!
//! `openssl ocsp` holds an answer's dates against this machine's clock, so those are not compared.

use std::ffi::OsString;
use std::fs;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mock_tee::nvidia::{Board, device_root_certificate, manifest_root_certificate};
use protocol::gpu_evidence::{
    DeviceEvidence, DeviceKind, GpuEndorsements, GpuEvidence, GpuMode, NamedRim,
};
use protocol::reference_values::DeviceSet;
use verifier::{Check, Outcome, Rejection};

use super::openssl::{Openssl, der_signature};
use crate::nvidia::LIES;
use crate::world::{NOW, World};

/// Failures of these kinds are cryptography's.
const CRYPTOGRAPHY: &[Rejection] = &[
    Rejection::GpuReportMalformed,
    Rejection::GpuSignatureInvalid,
    Rejection::NvidiaChainLength,
    Rejection::CertificateMalformed,
    Rejection::CertificateRoot,
    Rejection::CertificateNotYetValid,
    Rejection::CertificateExpired,
    Rejection::CertificateUsage,
    Rejection::CertificateNotAuthority,
    Rejection::CertificateIssuer,
    Rejection::CertificateAlgorithm,
    Rejection::CertificateSignature,
    Rejection::CertificateRevoked,
    Rejection::CertificateOnHold,
    Rejection::OcspMalformed,
    Rejection::OcspUnsuccessful,
    Rejection::OcspMissing,
    Rejection::OcspResponder,
    Rejection::OcspSignature,
    Rejection::OcspUnknown,
    Rejection::RimMissing,
    Rejection::RimXml,
    Rejection::RimSignatureProfile,
    Rejection::RimSignature,
    Rejection::RimDigest,
];

/// r and s of P-384.
const SIGNATURE_BYTES: usize = 96;

/// Seconds by which this machine's clock may differ from the answers' times.
const ANY_TIME: &str = "2000000000";

const SET: DeviceSet = DeviceSet {
    architecture: DeviceKind::Hopper,
    gpus: 1,
    switches: 1,
    mode: GpuMode::ProtectedPcie,
};

/// The leaf, those above it and the root as `leaf.pem`, `authority.pem` and `root.pem`.
fn lay_out(openssl: &Openssl, chain: &[Vec<u8>], root: &[u8]) -> bool {
    let [leaf, above @ .., last] = chain else {
        return false;
    };
    last == root
        && openssl.pem("x509", "leaf.pem", leaf)
        && openssl.pems("authority.pem", above)
        && openssl.pem("x509", "root.pem", root)
}

fn openssl_takes_device(device: &DeviceEvidence, root: &[u8], at: u64) -> bool {
    let openssl = Openssl::open();
    if !lay_out(&openssl, &device.chain, root) || !openssl.chain(&[], at) || !openssl.leaf_key() {
        return false;
    }
    let Some(cut) = device.report.len().checked_sub(SIGNATURE_BYTES) else {
        return false;
    };
    let (signed, signature) = device.report.split_at(cut);
    let (r, s) = signature.split_at(SIGNATURE_BYTES / 2);
    openssl.signed("-sha384", "leaf.key", signed, &der_signature([r, s]))
}

/// Whether some answer that `openssl` believes says "good" of each certificate but the root, from
/// `from` on.
fn openssl_knows_all_good(
    chain: &[Vec<u8>],
    from: usize,
    answers: &[Vec<u8>],
    (root, at): (&[u8], u64),
) -> bool {
    let openssl = Openssl::open();
    if !lay_out(&openssl, chain, root) || !openssl.pems("all.pem", chain) {
        return false;
    }
    let at = at.to_string();
    chain.windows(2).skip(from).all(|pair| {
        let there = openssl.pem("x509", "subject.pem", &pair[0])
            && openssl.pem("x509", "issuer.pem", &pair[1]);
        there
            && answers.iter().any(|answer| {
                openssl.write("answer", answer);
                let mut arguments = vec!["ocsp", "-no_nonce", "-respin", "answer", "-sha384"];
                arguments.extend(["-issuer", "issuer.pem", "-cert", "subject.pem"]);
                arguments.extend(["-CAfile", "root.pem", "-verify_other", "all.pem"]);
                arguments.extend(["-ignore_critical", "-attime", &at]);
                arguments.extend(["-validity_period", ANY_TIME]);
                let said = openssl.says(&arguments);
                said.is_some_and(|said| said.contains("subject.pem: good"))
            })
    })
}

fn certificates_of(rim: &NamedRim) -> Vec<Vec<u8>> {
    let text = String::from_utf8_lossy(&rim.document);
    let Ok(document) = roxmltree::Document::parse(&text) else {
        return Vec::new();
    };
    let found = document.descendants();
    let found = found.filter(|node| node.tag_name().name() == "X509Certificate");
    let decoded = found.map(|node| {
        let digits: String = node
            .text()
            .unwrap_or_default()
            .split_ascii_whitespace()
            .collect();
        STANDARD.decode(digits).unwrap_or_default()
    });
    decoded.collect()
}

/// What `openssl` says of the signers' chain and `xmlsec1` of the one signature over the document,
/// by the first signer's key.
fn xmlsec_takes(rim: &NamedRim, chain: &[Vec<u8>], root: &[u8], at: u64) -> bool {
    let openssl = Openssl::open();
    if !lay_out(&openssl, chain, root) || !openssl.chain(&[], at) || !openssl.leaf_key() {
        return false;
    }
    openssl.write("manifest.xml", &rim.document);
    let status = Command::new(xmlsec())
        .args(["--verify", "--pubkey-pem", "leaf.key"])
        // No key out of the document itself.
        .args(["--enabled-key-data", "key-name"])
        .args(["--enabled-reference-uris", "empty", "manifest.xml"])
        .current_dir(openssl.place.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let status = status.expect("the program xmlsec1: COCOON_XMLSEC1=$(image/xmlsec)");
    status.success()
}

/// The pinned program, as `ci/test` unpacks it, or this machine's.
#[allow(
    clippy::disallowed_methods,
    reason = "where another program lies, for a test"
)]
fn xmlsec() -> OsString {
    std::env::var_os("COCOON_XMLSEC1").unwrap_or_else(|| "xmlsec1".into())
}

fn others_take_board(evidence: &GpuEvidence, stapled: &GpuEndorsements, at: u64) -> bool {
    let device_root = device_root_certificate().unwrap();
    let manifest_root = manifest_root_certificate().unwrap();
    let devices = evidence.devices.iter();
    let mut devices = devices.map(|device| {
        openssl_takes_device(device, &device_root, at)
            // The leaf is certified by the device itself: nobody answers for it.
            && openssl_knows_all_good(&device.chain, 1, &stapled.ocsp, (&device_root, at))
    });
    let mut manifests = stapled.rims.iter().map(|rim| {
        let chain = certificates_of(rim);
        xmlsec_takes(rim, &chain, &manifest_root, at)
            && openssl_knows_all_good(&chain, 0, &stapled.ocsp, (&manifest_root, at))
    });
    devices.all(|good| good) && manifests.all(|good| good)
}

#[test]
fn openssl_and_xmlsec_take_every_board_whose_cryptography_this_crate_takes() {
    let (mut taken, mut refused) = (0, 0);
    let lies = LIES
        .iter()
        .filter(|(_, reason)| CRYPTOGRAPHY.contains(reason));
    for lie in lies.map(|(lie, _)| Some(*lie)).chain([None]) {
        let board = Board::new(SET.architecture, SET.gpus, SET.switches, SET.mode);
        let board = lie.map_or(board.clone(), |lie| board.with(lie));
        let world = World::genoa().with_board(&board, SET);
        let verdict = world.appraise_in_full(&world.evidence()).verdict;
        let open = |check: &&Check| {
            !matches!(check.outcome, Outcome::Passed | Outcome::NotNeeded)
                && CRYPTOGRAPHY.contains(&check.check)
        };
        let ours = !verdict.checks().iter().any(|check| open(&check));
        let evidence = GpuEvidence::decode(&world.gpu_evidence).unwrap();
        let stapled = world.gpu_endorsements.as_deref().unwrap();
        let stapled = GpuEndorsements::decode(stapled).unwrap();
        let theirs = others_take_board(&evidence, &stapled, NOW);
        assert!(!ours || theirs, "{lie:?}: we accept, another refuses");
        taken += u32::from(ours && theirs);
        refused += u32::from(!theirs);
    }
    assert!(
        taken > 0 && refused > 15,
        "{taken} taken, {refused} refused"
    );
}

/// Each device's own root: that it is NVIDIA's, the production anchors say.
fn openssl_takes_real(devices: &[DeviceEvidence]) -> bool {
    let takes = |device: &DeviceEvidence| {
        let root = device.chain.last();
        root.is_some_and(|root| openssl_takes_device(device, root, NOW))
    };
    devices.iter().all(takes)
}

#[test]
fn openssl_takes_the_real_devices_that_this_crate_takes_and_no_byte_less() {
    let read = |name: &str| {
        let path = format!("../tests/fixtures/nvidia/evidence/{name}.bin");
        GpuEvidence::decode(&fs::read(path).unwrap())
            .unwrap()
            .devices
    };
    assert!(openssl_takes_real(&read("board")));
    assert!(openssl_takes_real(&read("h100-550.90.07")));
    assert!(!openssl_takes_real(&read("h100-bad-signature")));
    let newer = read("h100-580.159.03");
    assert!(openssl_takes_real(&newer));
    for at in (0..newer[0].report.len()).step_by(251) {
        let mut flipped = newer.clone();
        flipped[0].report[at] ^= 1;
        assert!(!openssl_takes_real(&flipped), "byte {at}");
    }
}

/// What `verifier/src/nvidia/tests.rs` says of this crate: documents, times, whether it takes them.
/// 2024-06-01, 2025-06-01, 2026-11-22.
const MANIFESTS: &[(&str, u64, bool)] = &[
    ("1010_0200_882_96005E0001_PROD.swidtag", 1_717_200_000, true),
    ("1010_0200_882_96005E0001_PROD.swidtag", NOW, false),
    ("1010_0200_882_96005E0003_PROD.swidtag", 1_717_200_000, true),
    ("1010_0205_862_96005E0002_PROD.swidtag", 1_717_200_000, true),
    ("1010_0210_886_9600740011_PROD.swidtag", 1_717_200_000, true),
    ("g520_0200_885_9600740001_PROD.swidtag", 1_717_200_000, true),
    ("g520_0213_881_96006D0007_PROD.swidtag", 1_717_200_000, true),
    ("NV_GPU_DRIVER_GH100_550.144.03.xml", 1_748_736_000, true),
    ("NV_GPU_DRIVER_GH100_550.144.03.xml", NOW, true),
    ("NV_GPU_DRIVER_GH100_550.144.03.xml", 1_717_200_000, false),
    (
        "bad/incorrect_signature_driver_rim.xml",
        1_748_736_000,
        false,
    ),
    (
        "bad/incorrect_cert_chain_driver_rim.xml",
        1_748_736_000,
        false,
    ),
    ("bad/NV_GPU_DRIVER_GH100_570.124.03_expired.xml", NOW, false),
    (
        "bad/NV_GPU_DRIVER_GH100_535.86.09_measurement_mismatch.xml",
        NOW,
        false,
    ),
];

#[test]
fn xmlsec_says_of_nvidias_manifests_what_this_crate_says() {
    for (name, at, taken) in MANIFESTS {
        let document = fs::read(format!("../tests/fixtures/nvidia/manifests/{name}")).unwrap();
        let rim = NamedRim {
            id: String::new(),
            document,
        };
        let chain = certificates_of(&rim);
        let root = chain.last().unwrap();
        assert_eq!(xmlsec_takes(&rim, &chain, root, *at), *taken, "{name} {at}");
    }
}
