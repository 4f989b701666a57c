//! Which deviation of the inputs leads to each register of a TD.

use protocol::digest::{Mrtd, Rtmr};
use protocol::reference_values::{ExpectedRegisters, ReferenceValues, ShapeReference};
use sha2::{Digest as _, Sha384};

use super::{Cause, Input, OtherImage, other_command_lines};
use crate::firmware::Firmware;
use crate::release::BootArtifacts;
use crate::snp::DirectBoot;
use crate::tdx::{self, Event, PageOrder};

/// Registers as a quote or an event log showed them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FoundRegisters {
    /// MRTD.
    pub mrtd: Option<Mrtd>,
    /// RTMR0.
    pub rtmr0: Option<Rtmr>,
    /// RTMR1.
    pub rtmr1: Option<Rtmr>,
    /// RTMR2.
    pub rtmr2: Option<Rtmr>,
}

const UNKNOWN: &str = "something that is not known here";

/// Why MRTD is not the expected one: the firmware, or the order of the launcher's pages.
#[must_use]
pub fn mrtd(artifacts: &BootArtifacts, others: &[OtherImage], found: &Mrtd) -> Cause {
    let is = |bytes: &[u8], order| {
        let firmware = Firmware::parse(bytes).ok();
        let computed = firmware.and_then(|firmware| tdx::mrtd(&firmware, order).ok());
        computed.as_ref() == Some(found)
    };
    if is(&artifacts.firmware, PageOrder::TwoPass) {
        return Cause::new(
            Input::PageOrder,
            "each page measured as it is added",
            "all pages of a section added, then measured",
        );
    }
    for other in others {
        for order in [PageOrder::SinglePass, PageOrder::TwoPass] {
            if is(&other.artifacts.firmware, order) {
                return of(Input::Firmware, "firmware", other);
            }
        }
    }
    Cause::new(Input::Firmware, "the release's firmware", UNKNOWN)
}

/// Why RTMR1 is not the expected one: the kernel.
#[must_use]
pub fn rtmr1(others: &[OtherImage], found: &Rtmr) -> Cause {
    for other in others {
        let events = tdx::rtmr1_events(&other.artifacts.boot());
        if events.is_ok_and(|events| tdx::replay(&events) == *found) {
            return of(Input::Kernel, "kernel", other);
        }
    }
    Cause::new(Input::Kernel, "the release's kernel", UNKNOWN)
}

/// Why RTMR2 is not the expected one: the command line or the initrd.
#[must_use]
pub fn rtmr2(artifacts: &BootArtifacts, others: &[OtherImage], found: &Rtmr) -> Vec<Cause> {
    let boot = artifacts.boot();
    let is = |boot: &DirectBoot<'_>| tdx::replay(&tdx::rtmr2_events(boot)) == *found;
    let line = |difference: String| Cause::new(Input::CommandLine, boot.command_line, difference);
    for (command_line, difference) in other_command_lines(boot.command_line) {
        let other = DirectBoot {
            command_line: &command_line,
            ..boot
        };
        if is(&other) {
            return vec![line(difference)];
        }
    }
    for (options, difference) in load_options(boot.command_line) {
        let events = [text(&options), initrd(boot.initrd)];
        if tdx::replay(&events) == *found {
            return vec![line(difference.to_owned())];
        }
        if tdx::replay(&events[..1]) == *found {
            let none = Cause::new(Input::Initrd, "the initrd", "none");
            return vec![none];
        }
    }
    for other in others {
        let parts = other.artifacts.boot();
        let (command_line, initrd) = (parts.command_line, parts.initrd);
        let lines = Cause::new(Input::CommandLine, boot.command_line, command_line);
        let initrds = of(Input::Initrd, "initrd", other);
        if is(&DirectBoot {
            command_line,
            ..boot
        }) {
            return vec![lines];
        }
        if is(&DirectBoot { initrd, ..boot }) {
            return vec![initrds];
        }
        if is(&parts) {
            return vec![lines, initrds];
        }
    }
    vec![
        Cause::new(Input::CommandLine, boot.command_line, UNKNOWN),
        Cause::new(Input::Initrd, "the release's initrd", "or that"),
    ]
}

/// What other firmware and QEMU make of a command line.
fn load_options(line: &str) -> [(String, &'static str); 3] {
    [
        (line.to_owned(), "without the firmware's `initrd=initrd`"),
        (
            format!("{line} initrd=initrd"),
            "`initrd=initrd` behind it: other firmware or QEMU",
        ),
        (
            format!("initrd=initrd {line}"),
            "`initrd=initrd` in front of it",
        ),
    ]
}

fn text(options: &str) -> Event {
    let options = format!("{options}\0");
    let utf16: Vec<u8> = options.encode_utf16().flat_map(u16::to_le_bytes).collect();
    Event {
        what: "command line (UTF-16)",
        digest: Sha384::digest(utf16).into(),
    }
}

fn initrd(bytes: &[u8]) -> Event {
    Event {
        what: "initrd",
        digest: Sha384::digest(bytes).into(),
    }
}

fn of(input: Input, what: &str, other: &OtherImage) -> Cause {
    let found = format!("that of {}", other.name);
    Cause::new(input, format_args!("the release's {what}"), found)
}

/// Why RTMR0 is not the expected one: the machine's shape.
#[must_use]
pub fn rtmr0(values: &ReferenceValues, shape: &ShapeReference, found: &Rtmr) -> Vec<Cause> {
    let same = values.shapes.iter().find(|other| match &other.registers {
        ExpectedRegisters::Tdx { rtmr0, .. } => rtmr0.value == *found,
        ExpectedRegisters::SevSnp { .. } => false,
    });
    let Some(other) = same else {
        let what = "memory, vCPU count, devices or the firmware's variables";
        return vec![Cause::new(
            Input::Devices,
            &shape.shape,
            format_args!("another: {what}"),
        )];
    };
    let mut causes = Vec::new();
    if shape.vcpus != other.vcpus {
        causes.push(Cause::new(Input::VcpuCount, shape.vcpus, other.vcpus));
    }
    if shape.memory_mib != other.memory_mib {
        let mib = |memory: u32| format!("{memory} MiB");
        causes.push(Cause::new(
            Input::Memory,
            mib(shape.memory_mib),
            mib(other.memory_mib),
        ));
    }
    if causes.is_empty() {
        causes.push(Cause::new(Input::Devices, &shape.shape, &other.shape));
    }
    causes
}
