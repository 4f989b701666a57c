//! Hostile words of a GPU's driver and of the process around it, chains in PEM, and releases whose
//! manifest is as long as any.

use super::{Hostile, filled, refused};
use crate::pieces::join;
use crate::releases::{described_release, honest_release};
use crate::sockets::{gpu_socket, pem_chain};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

pub(super) const ALL: &[Hostile] = &[
    refused(
        "gpu_socket",
        "every length 2^32",
        || [&[1], &[0xff; 64][..]].concat(),
        gpu_socket,
    ),
    refused(
        "gpu_socket",
        "frames of 10 MiB",
        || vec![0xff; 10 * MIB],
        gpu_socket,
    ),
    refused(
        "pem_chain",
        "512 KiB of beginnings, of a driver",
        || beginnings(0, 512 * KIB),
        pem_chain,
    ),
    refused(
        "pem_chain",
        "512 KiB of beginnings, in collateral",
        || beginnings(1, 512 * KIB),
        pem_chain,
    ),
    refused(
        "pem_chain",
        "60 KiB of beginnings, in a quote",
        || beginnings(4, 60 * KIB),
        pem_chain,
    ),
    refused(
        "pem_chain",
        "certificates of a byte, of a driver",
        || certificates(64 * KIB),
        pem_chain,
    ),
    refused(
        "pem_chain",
        "10 MiB of zeros, of a driver",
        || vec![0; 10 * MIB],
        pem_chain,
    ),
    refused(
        "described_release",
        "a manifest of 60 KiB of files",
        manifest,
        described_release,
    ),
];

fn beginnings(place: u8, length: usize) -> Vec<u8> {
    [&[place], filled("", BEGIN, "", length).as_slice()].concat()
}

fn certificates(length: usize) -> Vec<u8> {
    let one = format!("{BEGIN}\nAQ==\n{END}\n");
    [&[0], filled("", &one, "", length).as_slice()].concat()
}

fn manifest() -> Vec<u8> {
    let front = r#"{"version":1,"image":"0.1.0","flavour":"cpu","profile":"research",
        "files":{"":{"sha256":""}"#;
    let manifest = filled(front, r#","..":{"sha256":""}"#, "}}", 60 * KIB);
    let [entry, _, values, proof] = honest_release();
    join(&[entry, &manifest, values, proof])
}
