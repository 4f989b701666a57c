//! Why a machine measured as it did: which input differs, instead of two hex strings.
//!
//! From documents (manifests, reference values, lists of shapes) the members that differ; from a
//! register and the artifacts of the expected release, the fewest deviations of its inputs over
//! known alternatives that lead to that register. A register that no known alternative leads to is
//! said to be unexplained, with the inputs that it covers.

pub mod document;
pub mod snp;
pub mod tdx;

use serde::Serialize;

use crate::release::BootArtifacts;

/// An input of a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Input {
    /// The firmware file.
    Firmware,
    /// The kernel file.
    Kernel,
    /// The initrd file.
    Initrd,
    /// The kernel's command line.
    CommandLine,
    /// The root image, by its verity parameters on the command line.
    Root,
    /// Number of vCPUs.
    VcpuCount,
    /// Model of the vCPUs.
    VcpuType,
    /// Memory of the machine.
    Memory,
    /// Devices of the machine.
    Devices,
    /// SEV_FEATURES of the guest.
    GuestFeatures,
    /// The order in which the launcher measured pages: another QEMU.
    PageOrder,
    /// A model that may be loaded.
    Model,
    /// What the release says of itself: version, profile, flavour.
    Release,
    /// A member that no register covers by itself.
    Other,
}

/// One input that differs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Cause {
    /// The input.
    pub input: Input,
    /// Where it stands, or what it is.
    pub expected: String,
    /// What it was instead.
    pub found: String,
}

impl Cause {
    pub(crate) fn new(input: Input, expected: impl ToString, found: impl ToString) -> Self {
        Self {
            input,
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }
}

/// Another image, whose parts may stand in for the expected ones.
#[derive(Debug, Clone)]
pub struct OtherImage {
    /// How the caller calls it.
    pub name: String,
    /// Its artifacts.
    pub artifacts: BootArtifacts,
}

/// What is appended to command lines by people who debug or attack.
const APPENDED: [&str; 8] = [
    "console=ttyS0",
    "console=tty0",
    "quiet",
    "debug",
    "loglevel=7",
    "panic=-1",
    "init=/bin/sh",
    "nokaslr",
];

/// Command lines near the expected one, each with its difference in words.
pub(crate) fn other_command_lines(expected: &str) -> Vec<(String, String)> {
    let mut lines = vec![
        (String::new(), "none".to_owned()),
        (format!("{expected}\n"), "a newline at its end".to_owned()),
        (format!("{expected} "), "a space at its end".to_owned()),
        (format!(" {expected}"), "a space at its start".to_owned()),
        (
            format!("{expected} initrd=initrd"),
            "`initrd=initrd` at its end".to_owned(),
        ),
    ];
    let words: Vec<&str> = expected.split(' ').collect();
    for (at, dropped) in words.iter().enumerate() {
        let kept = words.iter().enumerate().filter(|(other, _)| *other != at);
        let kept: Vec<&str> = kept.map(|(_, word)| *word).collect();
        lines.push((kept.join(" "), format!("without `{dropped}`")));
    }
    for word in APPENDED {
        lines.push((
            format!("{expected} {word}"),
            format!("with `{word}` at its end"),
        ));
        lines.push((
            format!("{word} {expected}"),
            format!("with `{word}` at its start"),
        ));
    }
    lines
}
