//! The few pieces of AML that depend on a machine's shape. ACPI specification 6.5, chapter 20.
//!
//! Written from the specification and from the bytes that QEMU gives a guest; nothing here is an
//! interpreter.

/// Opcodes that open a package.
pub(super) mod opcode {
    pub(in crate::acpi) const SCOPE: &[u8] = &[0x10];
    pub(in crate::acpi) const METHOD: &[u8] = &[0x14];
    pub(in crate::acpi) const DEVICE: &[u8] = &[0x5b, 0x82];
    pub(in crate::acpi) const PROCESSOR: &[u8] = &[0x5b, 0x83];
    pub(in crate::acpi) const IF: &[u8] = &[0xa0];
    pub(in crate::acpi) const WHILE: &[u8] = &[0xa2];
}

/// Name of an integer constant: `_ADR` of a device.
const NAME_ADR: &[u8] = b"\x08_ADR";

/// A package length for so many bytes of content; it counts its own bytes.
pub(super) fn package_length(content: usize) -> Vec<u8> {
    let one = content.saturating_add(1);
    if one < 0x40 {
        return vec![low_byte(one)];
    }
    // One leading byte holds the number of further bytes and the lowest four bits.
    let further: u8 = match content {
        ..0xffe => 1,
        0xffe..0xf_fffd => 2,
        0xf_fffd.. => 3,
    };
    let length = one.saturating_add(usize::from(further));
    let leading = (further << 6) | (low_byte(length) & 0xf);
    let rest = (length >> 4).to_le_bytes();
    let rest = rest.into_iter().take(usize::from(further));
    std::iter::once(leading).chain(rest).collect()
}

/// Reads a package length: its value and how many bytes it takes.
pub(super) fn read_package_length(bytes: &[u8]) -> Option<(usize, usize)> {
    let (first, rest) = bytes.split_first()?;
    let further = usize::from(first >> 6);
    if further == 0 {
        return Some((usize::from(first & 0x3f), 1));
    }
    let rest = rest.get(..further)?.iter().rev();
    let high = rest.fold(0_usize, |value, byte| (value << 8) | usize::from(*byte));
    let length = (high << 4) | usize::from(first & 0xf);
    Some((length, further.saturating_add(1)))
}

/// A package: opcode, length and content.
pub(super) fn package(opcode: &[u8], content: &[&[u8]]) -> Vec<u8> {
    let content = content.concat();
    let length = package_length(content.len());
    [opcode, &length, &content].concat()
}

/// An integer constant in its shortest form.
pub(super) fn integer(value: u32) -> Vec<u8> {
    let [low, high, ..] = value.to_le_bytes();
    match value {
        0 | 1 => vec![low],
        2..=0xff => vec![0x0a, low],
        0x100..=0xffff => vec![0x0b, low, high],
        0x1_0000.. => [&[0x0c], value.to_le_bytes().as_slice()].concat(),
    }
}

/// A device that is known only by its place on a bus: `S00` for function 0 of slot 0.
pub(super) fn device_at(slot: u8, children: &[u8]) -> Vec<u8> {
    let name = format!("S{:02X}_", u16::from(slot) << 3);
    let address = integer(u32::from(slot) << 16);
    package(
        opcode::DEVICE,
        &[name.as_bytes(), NAME_ADR, &address, children],
    )
}

fn low_byte(value: usize) -> u8 {
    u8::try_from(value & 0xff).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_length_reads_back_at_every_border() {
        for content in [0, 61, 62, 63, 4092, 4093, 4094, 4095, 0xf_fffc, 0xf_fffd] {
            let written = package_length(content);
            let read = read_package_length(&written).unwrap();
            assert_eq!(read, (content + written.len(), written.len()), "{content}");
        }
        assert_eq!(package_length(62).len(), 1);
        assert_eq!(package_length(63).len(), 2);
        assert_eq!(package_length(4093).len(), 2);
        assert_eq!(package_length(4094).len(), 3);
    }

    #[test]
    fn a_truncated_length_is_no_length() {
        assert_eq!(read_package_length(&[]), None);
        assert_eq!(read_package_length(&[0xc1, 2, 3]), None);
    }

    #[test]
    fn a_device_is_its_slot_and_nothing_else() {
        let bytes = device_at(3, &[]);
        assert_eq!(bytes, b"\x5b\x82\x0fS18_\x08_ADR\x0c\x00\x00\x03\x00");
        assert_eq!(device_at(0, &[]), b"\x5b\x82\x0bS00_\x08_ADR\x00");
    }
}
