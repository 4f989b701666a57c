//! The house's own rules as data, and a walk over its sources. The checks are in `tests/`.
#![forbid(unsafe_code)]

pub mod licence;
pub mod resolution;
pub mod rows;

use std::path::{Path, PathBuf};

/// Which workspace crates a crate may name in `[dependencies]`. What is not listed is forbidden.
/// The table is design.md §2: guest knows no host, host knows no guest, protocol knows nobody.
pub const EDGES: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("messages", &["protocol"]),
    ("model-format", &[]),
    ("bounded-json", &[]),
    ("verifier", &["protocol"]),
    ("transparency", &["protocol"]),
    (
        "measurements",
        &["protocol", "model-format", "transparency"],
    ),
    ("contracts", &["protocol"]),
    (
        "client",
        &[
            "protocol",
            "bounded-json",
            "verifier",
            "measurements",
            "contracts",
        ],
    ),
    ("verifier-web", &["protocol", "verifier", "transparency"]),
    ("verifier-wasm", &["verifier", "verifier-web"]),
    (
        "host-agent",
        &[
            "protocol",
            "messages",
            "verifier",
            "measurements",
            "contracts",
        ],
    ),
    ("sys", &["protocol"]),
    ("attest", &["protocol", "messages", "sys"]),
    ("init", &["protocol", "messages", "sys", "attest"]),
    ("gpu-evidence", &["protocol", "messages", "sys"]),
    ("init-gpu", &["protocol", "verifier", "init"]),
    (
        "serve",
        &["protocol", "messages", "bounded-json", "sys", "attest"],
    ),
    (
        "engine",
        &[
            "protocol",
            "messages",
            "bounded-json",
            "model-format",
            "sys",
        ],
    ),
    ("engine-cuda", &[]),
    (
        "engine-gpu",
        &["protocol", "messages", "sys", "engine", "engine-cuda"],
    ),
    ("cuda-lab", &["engine-cuda"]),
    ("layering", &[]),
    ("e2e", &[]),
    (
        "fuzz-targets",
        &[
            "protocol",
            "messages",
            "model-format",
            "contracts",
            "client",
            "verifier",
            "measurements",
            "engine",
            "gpu-evidence",
            "mock-tee",
            "research-anchors",
            "serve",
        ],
    ),
    ("hardening", &[]),
    (
        "payment-machines",
        &[
            "protocol",
            "messages",
            "serve",
            "client",
            "contracts",
            "host-agent",
            "verifier",
        ],
    ),
    ("lite-server", &["contracts", "protocol"]),
    ("mock-tee", &["protocol", "messages"]),
    ("mutants", &[]),
    ("onlooker", &[]),
    ("research-anchors", &["protocol", "verifier"]),
    (
        "init-research",
        &["protocol", "messages", "init", "attest", "sys", "probe"],
    ),
    (
        "gpu-evidence-research",
        &["protocol", "messages", "gpu-evidence", "mock-tee"],
    ),
    (
        "init-gpu-research",
        &["init", "init-gpu", "init-research", "research-anchors"],
    ),
    (
        "serve-research",
        &["protocol", "serve", "sys", "research-anchors"],
    ),
    (
        "cocoon-research",
        &["protocol", "client", "verifier", "research-anchors"],
    ),
    (
        "verifier-wasm-research",
        &["verifier-web", "research-anchors"],
    ),
    (
        "stack-guest",
        &[
            "protocol",
            "messages",
            "init",
            "attest",
            "sys",
            "init-research",
        ],
    ),
    ("probe", &["sys"]),
];

/// Crates that may only be development dependencies of the named crates.
pub const DEV_EDGES: &[(&str, &[&str])] = &[
    ("verifier", &["mock-tee", "research-anchors"]),
    ("engine", &["onlooker"]),
    ("serve", &["onlooker"]),
    ("engine-gpu", &["cuda-lab"]),
    ("contracts", &["lite-server"]),
    ("payment-machines", &["lite-server"]),
    (
        "client",
        &["lite-server", "mock-tee", "research-anchors", "verifier"],
    ),
    (
        "host-agent",
        &["lite-server", "mock-tee", "research-anchors"],
    ),
    ("mock-tee", &["verifier", "research-anchors"]),
    (
        "gpu-evidence-research",
        &["init", "init-gpu", "sys", "verifier", "research-anchors"],
    ),
    ("research-anchors", &["mock-tee"]),
    ("cocoon-research", &["mock-tee"]),
    ("e2e", &["protocol", "contracts"]),
];

/// Folders in which `unsafe` may stand.
pub const UNSAFE_ROOMS: &[&str] = &[
    "guest/sys/src",
    "guest/engine/src/kernels",
    "guest/engine/cuda/src/driver/calls.rs",
    "guest/gpu-evidence/src/nvml/calls.rs",
];

/// The only files with names that are exported under `#[unsafe(no_mangle)]`: three functions each,
/// by which a page speaks to the verifier: `docs/decisions/2026-11-26-verifier-in-the-browser.md`.
pub const EXPORTS: &[&str] = &[
    "client/web/wasm/src/lib.rs",
    "tests/research/web/src/lib.rs",
];

/// Words that say nothing about what a file or crate is for.
pub const EMPTY_NAMES: &[&str] = &[
    "util", "utils", "common", "helpers", "misc", "core", "shared",
];

/// Lines of production code in one file, at most.
pub const MAX_FILE_LINES: usize = 500;

/// Lines of code, without tests, comments and empty lines, that a room may have at most: what
/// people read whole before they trust it:
/// `docs/decisions/2026-11-26-size-of-verifier-and-protocol.md`.
pub const MAX_ROOM_LINES: &[(&str, usize)] = &[("protocol/src/", 2_500), ("verifier/src/", 6_000)];

/// Columns of one line, at most.
pub const MAX_COLUMNS: usize = 100;

/// The workspace's root.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// Every Rust source that is not generated, relative to the root, in order.
///
/// # Errors
/// Those of reading a directory.
pub fn sources() -> std::io::Result<Vec<PathBuf>> {
    let root = root();
    let mut found = Vec::new();
    let mut waiting = vec![root.clone()];
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if path.is_dir() {
                if !matches!(name, "target" | ".git" | "node_modules" | "out") {
                    waiting.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path.strip_prefix(&root).map(Path::to_owned).unwrap_or(path));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The part of a source before its test module. A test module in a file of its own, named near the
/// top, ends nothing.
#[must_use]
pub fn production(text: &str) -> &str {
    let attributes = text.match_indices("\n#[cfg(test)]\n");
    let tests = attributes
        .map(|(at, _)| text.split_at(at))
        .find(|(_, rest)| begins_tests(rest));
    tests.map_or(text, |(before, _)| before)
}

/// Whether a module of tests stands here, or is named as the last thing in the file.
fn begins_tests(rest: &str) -> bool {
    let mut lines = rest.lines().skip(2);
    match lines.next() {
        Some(line) if line.starts_with("#[") => true,
        Some(line) if line.starts_with("mod ") || line.starts_with("pub(crate) mod ") => {
            line.ends_with('{') || lines.next().is_none()
        }
        Some(_) | None => false,
    }
}
