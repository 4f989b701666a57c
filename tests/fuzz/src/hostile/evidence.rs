//! Hostile evidence: lengths of the wire, bombs of DER, PEM and JSON.

use protocol::endorsements::MAX_BYTES;
use protocol::gpu_evidence::{GpuEndorsements, MAX_RIM_BYTES};

use super::{Hostile, filled, nested, put, refused};
use crate::devices::{gpu_evidence, honest};
use crate::evidence::{
    appraise, machine_grant, policy, snp_certificates, snp_crl, snp_report, tdx_collateral,
    tdx_quote, wire,
};
use crate::honest::{Machine, grant};
use crate::pieces::join;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

pub(super) const ALL: &[Hostile] = &[
    refused("evidence", "every length 2^32", lengths, wire),
    refused("evidence", "10 MiB of evidence", || long(10 * MIB), wire),
    refused("evidence", "3 MiB of evidence", || long(3 * MIB), appraise),
    refused("evidence", "16 endorsements of 1 MiB", endorsements, wire),
    refused(
        "machine_grant",
        "255 devices of 255 bytes",
        crowd,
        machine_grant,
    ),
    refused(
        "machine_grant",
        "10 MiB",
        || long_grant(10 * MIB),
        machine_grant,
    ),
    refused("machine_grant", "1 MiB", || long_grant(MIB), machine_grant),
    refused(
        "policy",
        "64 KiB of lists in lists",
        || nested(64 * KIB),
        policy,
    ),
    refused(
        "policy",
        "64 KiB of numbers",
        || filled("[0", ",0", "]", 64 * KIB),
        policy,
    ),
    refused("policy", "10 MiB", || vec![b' '; 10 * MIB], policy),
    refused(
        "snp_report",
        "10 MiB of report",
        || vec![2; 10 * MIB],
        snp_report,
    ),
    refused(
        "snp_certificates",
        "DER of 4 GiB",
        || certificates(&der_of_4_gib()),
        snp_certificates,
    ),
    refused(
        "snp_certificates",
        "DER in DER",
        || certificates(&der(8 * KIB)),
        snp_certificates,
    ),
    refused(
        "snp_certificates",
        "a certificate of 1 MiB",
        || join(&[b"", b"", &vec![0x30; MIB]]),
        snp_certificates,
    ),
    refused(
        "snp_crl",
        "DER in DER, 512 KiB of it",
        || der(512 * KIB),
        snp_crl,
    ),
    refused("snp_crl", "512 KiB of empty entries", entries, snp_crl),
    refused("snp_crl", "1 MiB", || vec![0x30; MIB], snp_crl),
    refused("tdx_quote", "every length 2^32", quote, tdx_quote),
    refused("tdx_quote", "1 MiB of quote", long_quote, tdx_quote),
    refused(
        "tdx_collateral",
        "1 MiB of lists in lists",
        || nested(MAX_BYTES / 2),
        tdx_collateral,
    ),
    refused(
        "tdx_collateral",
        "certificates without an end",
        pem,
        tdx_collateral,
    ),
    refused(
        "tdx_collateral",
        "512 KiB of certificates, the last one cut",
        chain,
        tdx_collateral,
    ),
    refused(
        "gpu_evidence",
        "every length 2^32",
        || join(&[&[0xff; 64], b""]),
        gpu_evidence,
    ),
    refused(
        "gpu_evidence",
        "manifests of 128 KiB of elements in elements",
        || manifests("<a>"),
        gpu_evidence,
    ),
    refused(
        "gpu_evidence",
        "manifests of 128 KiB of empty elements",
        || manifests("<a/>"),
        gpu_evidence,
    ),
    refused(
        "gpu_evidence",
        "manifests of 128 KiB of references",
        || manifests("&amp;"),
        gpu_evidence,
    ),
];

/// A grant that names more devices than there are, all of them longer than a serial number is.
fn crowd() -> Vec<u8> {
    // Magic, version, provider, network, kind and chip are the honest ones.
    let names = grant().get(..8 + 2 + 32 + 4 + 1 + 64);
    [names.expect("a grant"), &[0xff; 1 + 255 * 256]].concat()
}

/// An honest grant with something behind it.
fn long_grant(length: usize) -> Vec<u8> {
    let mut bytes = grant().to_vec();
    bytes.resize(length, 0);
    bytes
}

/// Endorsements whose manifests are this text, again and again.
fn manifests(again: &str) -> Vec<u8> {
    let (_, stapled) = honest();
    let mut stapled = GpuEndorsements::decode(stapled).expect("endorsements");
    for rim in &mut stapled.rims {
        rim.document = filled("<a>", again, "", MAX_RIM_BYTES);
    }
    join(&[b"", &stapled.encode()])
}

fn lengths() -> Vec<u8> {
    let mut bytes = Machine::Genoa.evidence().encode();
    // Magic, Statement, index and count of the proof, no path; then the first length.
    let at = 8 + 341 + 8 + 1;
    bytes[at..].fill(0xff);
    bytes
}

fn long(length: usize) -> Vec<u8> {
    let mut bytes = Machine::Genoa.evidence().encode();
    bytes.resize(length, 0);
    bytes
}

fn endorsements() -> Vec<u8> {
    let mut bytes = vec![16];
    for kind in [1u16, 2, 3, 4] {
        bytes.extend(kind.to_le_bytes());
        bytes.extend(u32::try_from(MIB).expect("short").to_le_bytes());
        bytes.resize(bytes.len() + MIB, 0);
    }
    bytes
}

fn certificates(der: &[u8]) -> Vec<u8> {
    join(&[der, der, der])
}

fn der_of_4_gib() -> Vec<u8> {
    vec![
        0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0x30, 0x84, 0xff, 0xff, 0xff, 0xff,
    ]
}

/// Sequences in sequences: each holds the next, as far as three bytes of length can say.
fn der(length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while length.saturating_sub(bytes.len()) > 5 {
        let rest = u32::try_from(length - bytes.len() - 5)
            .expect("short")
            .to_be_bytes();
        bytes.extend([0x30, 0x83, rest[1], rest[2], rest[3]]);
    }
    bytes.resize(length, 0);
    bytes
}

fn entries() -> Vec<u8> {
    let mut bytes = vec![0x30, 0x83, 0x07, 0xff, 0xfb];
    bytes.resize(512 * KIB, 0);
    for at in (5..bytes.len() - 1).step_by(2) {
        put(&mut bytes, at, &[0x30, 0]);
    }
    bytes
}

fn quote() -> Vec<u8> {
    let mut bytes = Machine::TdxV4.evidence().report.clone();
    bytes[632..].fill(0xff);
    bytes
}

fn long_quote() -> Vec<u8> {
    let mut bytes = Machine::TdxV4.evidence().report.clone();
    bytes.resize(MIB, 1);
    bytes
}

/// Collateral whose issuer chains are this text.
fn collateral(text: &str) -> Vec<u8> {
    let honest = Machine::TdxV4.evidence();
    let kind = protocol::endorsements::EndorsementKind::TdxCollateral;
    let bytes = honest.endorsements.get(kind).expect("collateral");
    let mut document: serde_json::Value = serde_json::from_slice(bytes).expect("a document");
    document["pck_crl_issuer_chain"] = text.into();
    document.to_string().into_bytes()
}

fn pem() -> Vec<u8> {
    collateral(&"-----BEGIN CERTIFICATE-----\n".repeat(30_000))
}

fn chain() -> Vec<u8> {
    let honest = Machine::TdxV4.evidence();
    let kind = protocol::endorsements::EndorsementKind::TdxCollateral;
    let bytes = honest.endorsements.get(kind).expect("collateral");
    let document: serde_json::Value = serde_json::from_slice(bytes).expect("a document");
    let chain = document["pck_crl_issuer_chain"].as_str().expect("a text");
    let times = (MAX_BYTES - 64 * KIB) / chain.len() / 2;
    let whole = chain.repeat(times);
    let cut = whole.trim_end().strip_suffix("-----END CERTIFICATE-----");
    collateral(cut.expect("certificates"))
}
