//! The TD HOB: the list of memory that QEMU hands to the firmware of a TD. UEFI PI specification
//! 1.8, volume 3; which ranges are accepted comes from the firmware's TDX metadata.
//!
//! QEMU writes it only for a real TD, so nothing under emulation shows these bytes; they are
//! compared with the event log of real hardware.

use crate::firmware::{FirmwareError, TdxSection};
use crate::machine::Range;

/// Section types of the firmware's metadata.
const TD_HOB: u32 = 2;
const TEMPORARY_MEMORY: u32 = 3;

/// Resource types.
const SYSTEM_MEMORY: u32 = 0;
const UNACCEPTED_MEMORY: u32 = 7;
/// Present, initialised, tested.
const ATTRIBUTES: u32 = 7;

const HAND_OFF: u16 = 1;
const HAND_OFF_BYTES: u16 = 56;
const HAND_OFF_VERSION: u32 = 9;
const RESOURCE: u16 = 3;
const RESOURCE_BYTES: u16 = 48;
/// Length of the structure that ends the list, which is not measured.
const END_BYTES: u64 = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stretch {
    range: Range,
    kind: u32,
}

/// The measured bytes of the list, without its end.
///
/// # Errors
/// `Malformed` when a section is not within one stretch of memory, or there is no TD HOB section.
pub fn measured(sections: &[TdxSection], memory: &[Range]) -> Result<Vec<u8>, FirmwareError> {
    let malformed = FirmwareError::Malformed {
        table: "TDX metadata",
    };
    let unaccepted = |range: &Range| Stretch {
        range: *range,
        kind: UNACCEPTED_MEMORY,
    };
    let mut stretches: Vec<Stretch> = memory.iter().map(unaccepted).collect();
    for section in sections {
        if matches!(section.kind, TD_HOB | TEMPORARY_MEMORY) {
            let (start, length) = (section.base, section.size);
            accept(&mut stretches, Range { start, length }).ok_or(malformed)?;
        }
    }
    stretches.sort_by_key(|stretch| stretch.range.start);
    let list = sections.iter().find(|section| section.kind == TD_HOB);
    Ok(written(list.ok_or(malformed)?.base, &stretches))
}

/// Cuts an accepted range out of the stretch that holds it.
fn accept(stretches: &mut Vec<Stretch>, accepted: Range) -> Option<()> {
    let holds = |stretch: &Stretch| {
        stretch.range.start <= accepted.start && accepted.end() <= stretch.range.end()
    };
    let at = stretches.iter().position(holds)?;
    let Stretch { range, kind } = stretches.remove(at);
    if kind == SYSTEM_MEMORY {
        stretches.push(Stretch { range, kind });
        return Some(());
    }
    let between = |start: u64, end: u64| Range {
        start,
        length: end.saturating_sub(start),
    };
    let pieces = [
        (between(range.start, accepted.start), UNACCEPTED_MEMORY),
        (accepted, SYSTEM_MEMORY),
        (between(accepted.end(), range.end()), UNACCEPTED_MEMORY),
    ];
    let pieces = pieces.into_iter().filter(|(range, _)| range.length > 0);
    stretches.extend(pieces.map(|(range, kind)| Stretch { range, kind }));
    Some(())
}

fn written(base: u64, stretches: &[Stretch]) -> Vec<u8> {
    let head = |kind: u16, length: u16| {
        let mut bytes = kind.to_le_bytes().to_vec();
        bytes.extend(length.to_le_bytes());
        bytes.extend([0; 4]);
        bytes
    };
    let count = u64::try_from(stretches.len()).unwrap_or(u64::MAX);
    let length = count.saturating_mul(u64::from(RESOURCE_BYTES));
    let end = base
        .saturating_add(u64::from(HAND_OFF_BYTES))
        .saturating_add(length)
        .saturating_add(END_BYTES);
    let mut out = head(HAND_OFF, HAND_OFF_BYTES);
    out.extend(HAND_OFF_VERSION.to_le_bytes());
    // Boot mode, and four addresses that are not used.
    out.extend([0; 4]);
    out.extend([0; 32]);
    out.extend(end.to_le_bytes());
    for Stretch { range, kind } in stretches {
        out.extend(head(RESOURCE, RESOURCE_BYTES));
        // No owner.
        out.extend([0; 16]);
        out.extend(kind.to_le_bytes());
        out.extend(ATTRIBUTES.to_le_bytes());
        out.extend(range.start.to_le_bytes());
        out.extend(range.length.to_le_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest as _, Sha384};

    fn section(kind: u32, base: u64, size: u64) -> TdxSection {
        TdxSection {
            data_offset: 0,
            raw_size: 0,
            base,
            size,
            kind,
            attributes: 0,
        }
    }

    /// Metadata of the firmware (dstack 0.6.0) whose event log is in
    /// `tests/fixtures/tdx/rtmr0/README.md`, on a machine with 2 GiB.
    #[test]
    fn the_list_is_the_one_that_real_hardware_logged() {
        let sections = [
            section(TEMPORARY_MEMORY, 0x0081_0000, 0x1_0000),
            section(TEMPORARY_MEMORY, 0x0080_b000, 0x2000),
            section(TD_HOB, 0x0080_9000, 0x2000),
            section(TEMPORARY_MEMORY, 0x0080_0000, 0x6000),
        ];
        let memory = [Range {
            start: 0,
            length: 2 << 30,
        }];
        let digest = Sha384::digest(measured(&sections, &memory).unwrap());
        let start = [0x0b, 0x87, 0x72, 0xe5];
        assert_eq!(digest[..4], start);
    }

    #[test]
    fn a_section_outside_memory_is_refused() {
        let memory = [Range {
            start: 0,
            length: 0x0080_0000,
        }];
        for sections in [vec![section(TD_HOB, 0x0080_9000, 0x2000)], vec![]] {
            let refused = measured(&sections, &memory);
            assert!(matches!(refused, Err(FirmwareError::Malformed { .. })));
        }
    }
}
