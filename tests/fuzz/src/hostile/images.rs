//! Hostile firmware, executables and file lists.

use super::{Hostile, filled, put, refused, taken};
use crate::images::{firmware_at_length, layout, pe};

const FOOTER: [u8; 16] = guid(0x96b5_82de, [0x1fb2, 0x45f7], 0xbaea_a366_c55a_082d);
const RESET_BLOCK: [u8; 16] = guid(0x00f7_71de, [0x1a7e, 0x4fcb], 0x890e_68c7_7e2f_b44e);
const SEV: [u8; 16] = guid(0xdc88_6566, [0x984a, 0x4798], 0xa75e_5585_a7bf_67cc);
const TDX: [u8; 16] = guid(0xe47a_6535, [0x984a, 0x4798], 0x865e_4685_a7bf_8ec2);
/// Metadata stands this far in front of the end of a file.
const METADATA: usize = 3072;
const MIB: usize = 1 << 20;

pub(super) const ALL: &[Hostile] = &[
    refused(
        "firmware",
        "a section of 4 GiB",
        || sev(&[(0, u32::MAX, 1)]),
        firmware_at_length,
    ),
    refused(
        "firmware",
        "64 sections of 64 MiB",
        many_sections,
        firmware_at_length,
    ),
    refused(
        "firmware",
        "two sections share a page",
        || sev(&[(0x80_0000, 0x2000, 1), (0x80_1000, 0x1000, 2)]),
        firmware_at_length,
    ),
    refused(
        "firmware",
        "a TDX section of 2^52 bytes",
        || tdx(&[(0, 1 << 52, 1)]),
        firmware_at_length,
    ),
    refused(
        "firmware",
        "a TDX section that ends behind the address space",
        || tdx(&[(!0xfff, 0x2000, 0)]),
        firmware_at_length,
    ),
    refused(
        "firmware",
        "two TDX sections share a page",
        || tdx(&[(0x1000, 0x2000, 0), (0x2000, 0x1000, 0)]),
        firmware_at_length,
    ),
    refused(
        "firmware",
        "a table twice",
        || flash(&[(SEV, 4), (SEV, 4)]),
        firmware_at_length,
    ),
    refused(
        "firmware",
        "metadata in front of the file",
        metadata_outside,
        firmware_at_length,
    ),
    refused(
        "firmware",
        "more sections than any firmware has",
        too_many,
        firmware_at_length,
    ),
    refused(
        "firmware",
        "an entry that ends where it begins",
        cyclic,
        firmware_at_length,
    ),
    refused(
        "firmware",
        "16 MiB without tables",
        || vec![0; 16 * MIB],
        firmware_at_length,
    ),
    refused(
        "firmware",
        "longer than is read",
        || vec![0; 16 * MIB + 1],
        firmware_at_length,
    ),
    taken(
        "firmware",
        "16 MiB, all of it measured",
        longest,
        firmware_at_length,
    ),
    refused(
        "pe",
        "headers that begin at themselves",
        || executable(0x3c, 1),
        pe,
    ),
    refused("pe", "65,535 sections", || executable(64, u16::MAX), pe),
    refused("pe", "96 sections over the same bytes", overlapping, pe),
    refused("pe", "headers of 4 GiB", headers, pe),
    refused(
        "image_layout",
        "a file of 2^64 bytes",
        || file_list(1, u64::MAX),
        layout,
    ),
    refused(
        "image_layout",
        "one file too many",
        || file_list(4097, 1),
        layout,
    ),
    taken(
        "image_layout",
        "as many files as are taken",
        || file_list(4096, 1 << 20),
        layout,
    ),
    refused(
        "image_layout",
        "a megabyte of colons",
        || filled("sha256:4096", ":", "", MIB),
        layout,
    ),
];

/// A GUID as it lies in memory.
const fn guid(a: u32, [b, c]: [u16; 2], rest: u64) -> [u8; 16] {
    let (a, b, c, d) = (
        a.to_le_bytes(),
        b.to_le_bytes(),
        c.to_le_bytes(),
        rest.to_be_bytes(),
    );
    [
        a[0], a[1], a[2], a[3], b[0], b[1], c[0], c[1], d[0], d[1], d[2], d[3], d[4], d[5], d[6],
        d[7],
    ]
}

/// The end of a flash image with these entries, each pointing at the metadata.
fn flash(entries: &[([u8; 16], u32)]) -> Vec<u8> {
    let mut file = vec![0; 4096];
    let mut at = 4096 - 32;
    let mut entry = |guid: &[u8; 16], length: usize, data: &[u8], at: &mut usize| {
        *at -= 16;
        put(&mut file, *at, guid);
        *at -= 2;
        let length = u16::try_from(length).expect("a short table");
        put(&mut file, *at, &length.to_le_bytes());
        *at -= data.len();
        put(&mut file, *at, data);
    };
    let whole = entries
        .iter()
        .map(|(_, length)| 18 + usize::try_from(*length).expect("short"));
    entry(&FOOTER, 18 + whole.sum::<usize>(), b"", &mut at);
    for (guid, length) in entries {
        let place = u32::try_from(METADATA)
            .expect("within the file")
            .to_le_bytes();
        let data = &place[..usize::try_from(*length).expect("short")];
        entry(guid, 18 + data.len(), data, &mut at);
    }
    file
}

/// SEV metadata with these sections: base, size, kind.
fn sev(sections: &[(u32, u32, u32)]) -> Vec<u8> {
    let mut file = flash(&[(RESET_BLOCK, 4), (SEV, 4)]);
    let at = metadata(&mut file, b"ASEV", sections.len());
    for (number, (base, size, kind)) in sections.iter().enumerate() {
        let words = [base, size, kind].map(|word| word.to_le_bytes());
        put(&mut file, at + 12 * number, &words.concat());
    }
    file
}

/// TDX metadata with these sections: base, size, attributes. None has bytes in the file.
fn tdx(sections: &[(u64, u64, u32)]) -> Vec<u8> {
    let mut file = flash(&[(TDX, 4)]);
    let at = metadata(&mut file, b"TDVF", sections.len());
    for (number, (base, size, attributes)) in sections.iter().enumerate() {
        let at = at + 32 * number;
        put(&mut file, at + 8, &base.to_le_bytes());
        put(&mut file, at + 16, &size.to_le_bytes());
        put(&mut file, at + 28, &attributes.to_le_bytes());
    }
    file
}

/// Writes the head of metadata; where its sections begin.
fn metadata(file: &mut [u8], magic: &[u8; 4], count: usize) -> usize {
    let at = file.len() - METADATA;
    put(file, at, magic);
    put(file, at + 8, &1u32.to_le_bytes());
    let count = u32::try_from(count).expect("a count");
    put(file, at + 12, &count.to_le_bytes());
    at + 16
}

fn many_sections() -> Vec<u8> {
    let section = |number: u32| (number << 26, 1 << 26, 1);
    sev(&(0..64).map(section).collect::<Vec<_>>())
}

fn too_many() -> Vec<u8> {
    let section = |number: u32| (number << 12, 1 << 12, 1);
    sev(&(0..65).map(section).collect::<Vec<_>>())
}

fn metadata_outside() -> Vec<u8> {
    let mut file = flash(&[(SEV, 4)]);
    let at = 4096 - 32 - 18 - 18 - 4;
    put(&mut file, at, &4097u32.to_le_bytes());
    file
}

fn cyclic() -> Vec<u8> {
    let mut file = flash(&[(SEV, 4)]);
    let at = 4096 - 32 - 18 - 18;
    put(&mut file, at, &0u16.to_le_bytes());
    file
}

/// A flash image of 16 MiB, one section over all of it.
fn longest() -> Vec<u8> {
    let end = tdx(&[(0xff00_0000, 1 << 24, 1)]);
    let mut file = vec![7; 16 * MIB - end.len()];
    file.extend(end);
    let at = file.len() - METADATA + 16;
    put(&mut file, at + 4, &(1u32 << 24).to_le_bytes());
    file
}

/// Headers of 512 bytes at a place, and as many sections, all of them empty.
fn executable(place: u32, sections: u16) -> Vec<u8> {
    let mut file = vec![0; 8192];
    put(&mut file, 0x3c, &place.to_le_bytes());
    put(&mut file, 64, b"PE\0\0");
    put(&mut file, 70, &sections.to_le_bytes());
    put(&mut file, 84, &160u16.to_le_bytes());
    put(&mut file, 88, &0x20bu16.to_le_bytes());
    put(&mut file, 88 + 60, &4608u32.to_le_bytes());
    put(&mut file, 88 + 108, &6u32.to_le_bytes());
    file
}

fn overlapping() -> Vec<u8> {
    let mut file = executable(64, 96);
    for header in (0..96).map(|number| 88 + 160 + 40 * number) {
        put(&mut file, header, b".text");
        put(&mut file, header + 16, &3584u32.to_le_bytes());
        put(&mut file, header + 20, &4608u32.to_le_bytes());
    }
    file
}

fn headers() -> Vec<u8> {
    let mut file = executable(64, 1);
    put(&mut file, 88 + 60, &u32::MAX.to_le_bytes());
    put(&mut file, 88 + 160 + 16, &1u32.to_le_bytes());
    file
}

fn file_list(count: u32, bytes: u64) -> Vec<u8> {
    let file = |number: u32| {
        let mut entry = vec![255];
        entry.extend(format!("{number:0255}").as_bytes());
        entry.extend(bytes.to_le_bytes());
        entry
    };
    (0..count).flat_map(file).collect()
}
