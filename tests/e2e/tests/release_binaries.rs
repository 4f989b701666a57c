//! The release programs hold nothing of the simulation: no research root in any form, no word of a
//! simulated certificate, no seed of its keys, no name of a research program or protocol.
//!
//! Reads what `cargo build --release --workspace` made; builds nothing. Each thing that is looked
//! for is also found in the research program that has it, so that a search which finds nothing
//! ever is noticed. Deliberately not here: the number of the research network, four bytes that
//! machine code holds by chance; `tests/layering` keeps its crate out of release programs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests state claims; a panic is the failure"
)]

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// The programs that are released.
const RELEASE: [&str; 6] = [
    "cocoon",
    "host-agent",
    "init",
    "init-gpu",
    "serve",
    "engine",
];

/// Roots of the simulated TEE.
const ROOTS: [&str; 6] = [
    "amd-milan.der",
    "amd-genoa.der",
    "amd-turin.der",
    "intel.der",
    "nvidia-device.der",
    "nvidia-rim.der",
];

/// Texts of the simulation, each with a program that holds it.
const TEXTS: [(&str, &str); 7] = [
    ("RESEARCH ONLY", "mock-tee"),
    ("RESEARCH ARK-", "mock-tee"),
    ("RESEARCH SGX Root CA", "mock-tee"),
    ("cocoon research keys v1", "mock-tee"),
    ("mock-tee", "mock-tee"),
    ("cocoon-research", "cocoon-research"),
    ("cocoon-research/1", "serve-research"),
];

/// The research marker, object identifier 1.3.6.1.4.1.32473.7357.1, as DER encodes its arcs.
const MARKER: [u8; 11] = [
    0x2b, 0x06, 0x01, 0x04, 0x01, 0x81, 0xfd, 0x59, 0xb9, 0x3d, 0x01,
];

/// The folder of release programs, beside or above the one that this test was built into.
fn release_folder() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // TARGET/PROFILE/deps/TEST
    test.ancestors().nth(3).unwrap().join("release")
}

fn program(name: &str) -> Vec<u8> {
    let path = release_folder().join(name);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| {
        panic!(
            "cannot read `{}` ({error}): run `cargo build --release --workspace` first",
            path.display()
        )
    });
    assert!(bytes.starts_with(b"\x7fELF"), "{name} is not a program");
    bytes
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap()
}

fn root(file: &str) -> Vec<u8> {
    std::fs::read(repository().join("tests/research/anchors").join(file)).unwrap()
}

fn holds(program: &[u8], wanted: &[u8]) -> bool {
    let (first, _) = wanted.split_first().expect("something to look for");
    let starts = program
        .iter()
        .enumerate()
        .filter(|(_, byte)| *byte == first);
    starts
        .map(|(at, _)| &program[at..])
        .any(|rest| rest.starts_with(wanted))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn no_release_program_holds_a_research_root() {
    for name in RELEASE {
        let program = program(name);
        for file in ROOTS {
            assert!(!holds(&program, &root(file)), "{name} holds {file}");
        }
    }
}

#[test]
fn no_release_program_holds_the_pin_of_a_research_root() {
    for name in RELEASE {
        let program = program(name);
        for file in ROOTS {
            let pin = Sha256::digest(root(file));
            let text = hex(&pin);
            let upper = text.to_ascii_uppercase();
            for form in [pin.as_slice(), text.as_bytes(), upper.as_bytes()] {
                assert!(!holds(&program, form), "{name} holds the pin of {file}");
            }
        }
    }
}

#[test]
fn no_release_program_holds_a_text_of_the_simulation() {
    for name in RELEASE {
        let program = program(name);
        for (text, _) in TEXTS {
            assert!(!holds(&program, text.as_bytes()), "{name} holds `{text}`");
        }
    }
}

#[test]
fn what_is_looked_for_is_found_where_it_is() {
    let client = program("cocoon-research");
    for file in ROOTS {
        assert!(holds(&client, &root(file)), "cocoon-research lacks {file}");
    }
    for (text, name) in TEXTS {
        let holds = holds(&program(name), text.as_bytes());
        assert!(holds, "{name} lacks `{text}`");
    }
    // Pins lie in a program as 32 bytes: there is the one of AMD's own root for Milan.
    let fixture = repository().join("tests/fixtures/snp/milan-v2/ark.der");
    let pin = Sha256::digest(std::fs::read(fixture).unwrap());
    assert!(holds(&program("cocoon"), &pin), "cocoon lacks AMD's root");
}

/// The verifier knows the marker in order to refuse it, so the client must hold it; what makes
/// evidence must not.
#[test]
fn only_who_refuses_marked_certificates_knows_the_marker() {
    assert!(holds(&program("mock-tee"), &MARKER));
    assert!(holds(&program("cocoon"), &MARKER));
    for name in ["serve", "engine"] {
        assert!(!holds(&program(name), &MARKER), "{name} holds the marker");
    }
}
