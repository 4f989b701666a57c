//! What each fuzz target does with an input: `ci/fuzz` runs these functions under libFuzzer, the
//! tests here over the committed corpora, on every change.
//!
//! A target must refuse or take any bytes at all; a panic is a finding, and so is a broken promise,
//! which is why the functions assert what a parser says of what it took. The driver in `libfuzzer/`
//! holds every execution against its bound of memory. What is deliberately not here: which error an
//! offence has (each room's own tests), and how long anything takes (`benches/bounds.rs`).
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a panic is what a fuzzer and a test look for; no program is made of this"
)]

pub mod chain;
pub mod devices;
pub mod evidence;
pub mod honest;
pub mod hostile;
pub mod images;
pub mod logs;
pub mod models;
pub mod pieces;
pub mod releases;
pub mod requests;
pub mod sockets;
pub mod vocabularies;
pub mod wallets;

use std::path::{Path, PathBuf};

/// What a target did with an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// At least one parser took all of it.
    Taken,
    /// Every parser refused it, with a typed error.
    Refused,
}

impl Outcome {
    /// The outcome of one parser.
    pub fn of<T, E: std::error::Error>(result: &Result<T, E>) -> Self {
        match result {
            Ok(_) => Self::Taken,
            Err(_) => Self::Refused,
        }
    }

    /// Taken by either.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        match self {
            Self::Taken => Self::Taken,
            Self::Refused => other,
        }
    }
}

/// A parser, or several that are given the same bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name: of its program in `libfuzzer/src/bin` and of its folder in `corpus`.
    pub name: &'static str,
    /// What it does.
    pub run: fn(&[u8]) -> Outcome,
}

/// Every target: first what an image and a release are made of, with models and what clients ask of
/// them, then what a verifier is handed, then what a server of the chain says, and a wallet on a
/// phone.
/// A new one is a row here, a program beside the others, and a folder of seeds.
pub const TARGETS: &[Target] = &[
    target("firmware", images::firmware),
    target("pe", images::pe),
    target("image_layout", images::layout),
    target("event_log", logs::event_log),
    target("gguf", models::gguf),
    target("safetensors", models::safetensors),
    target("model_directory", models::directory),
    target("model_config", models::config),
    target("tokenizer", models::vocabulary),
    target("chat_template", requests::template),
    target("answer_schema", requests::schema),
    target("request", requests::request),
    target("documents", releases::documents),
    target("transparency", releases::transparency),
    target("described_release", releases::described_release),
    target("evidence", evidence::wire),
    target("machine_grant", evidence::machine_grant),
    target("policy", evidence::policy),
    target("snp_report", evidence::snp_report),
    target("snp_certificates", evidence::snp_certificates),
    target("snp_crl", evidence::snp_crl),
    target("tdx_quote", evidence::tdx_quote),
    target("tdx_collateral", evidence::tdx_collateral),
    target("gpu_evidence", devices::gpu_evidence),
    target("gpu_socket", sockets::gpu_socket),
    target("pem_chain", sockets::pem_chain),
    target("appraise", evidence::appraise),
    target("account_proof", chain::account_proof),
    target("lite_answer", chain::lite_answer),
    target("connect_stream", wallets::stream),
    target("connect_message", wallets::message),
];

const fn target(name: &'static str, run: fn(&[u8]) -> Outcome) -> Target {
    Target { name, run }
}

/// The target of that name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Where the seeds of a target lie.
#[must_use]
pub fn corpus_folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target)
}

/// The seeds of a target, in the order of their names.
///
/// # Panics
/// When the folder cannot be read.
#[must_use]
pub fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = corpus_folder(target);
    let entries = std::fs::read_dir(&folder).expect("the target has a folder of seeds");
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy();
        (name.into_owned(), std::fs::read(&path).expect("a seed"))
    };
    let mut seeds: Vec<_> = entries.map(read).collect();
    seeds.sort();
    seeds
}
