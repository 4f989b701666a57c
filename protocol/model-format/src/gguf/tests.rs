//! Prefixes and changed bytes of a small header. Hostile headers field by field are in the
//! engine's tests, which open whole files.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

use proptest::prelude::*;

use super::*;

/// One key, two tensors, 96 bytes of data from byte 160.
fn good() -> Vec<u8> {
    let mut bytes = b"GGUF".to_vec();
    let text = |bytes: &mut Vec<u8>, text: &str| {
        bytes.extend(u64::try_from(text.len()).unwrap().to_le_bytes());
        bytes.extend(text.as_bytes());
    };
    bytes.extend(3u32.to_le_bytes());
    bytes.extend(2u64.to_le_bytes());
    bytes.extend(1u64.to_le_bytes());
    text(&mut bytes, "general.name");
    bytes.extend(8u32.to_le_bytes());
    text(&mut bytes, "tiny");
    for (name, kind, offset) in [("a", 0u32, 0u64), ("b", 8, 64)] {
        text(&mut bytes, name);
        bytes.extend(1u32.to_le_bytes());
        bytes.extend(if kind == 0 { 16u64 } else { 32 }.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(offset.to_le_bytes());
    }
    bytes
}

fn whole() -> (Vec<u8>, u64) {
    let header = good();
    let start = u64::try_from(header.len()).unwrap().next_multiple_of(32);
    (header, start + 64 + 34)
}

#[test]
fn a_sound_header_says_where_its_data_lies() {
    let (header, size) = whole();
    let found = check(&header, size).unwrap().unwrap();
    assert_eq!(
        (found.version, found.keys, found.tensors, found.data_end),
        (3, 1, 2, size)
    );
    assert!(found.data_start.is_multiple_of(32));
}

#[test]
fn a_prefix_of_a_header_asks_for_more_and_a_file_that_ends_there_is_refused() {
    let (header, size) = whole();
    for end in 0..header.len() {
        let prefix = &header[..end];
        assert_eq!(check(prefix, size), Ok(None), "{end}");
        let refused = check(prefix, u64::try_from(end).unwrap()).unwrap_err();
        assert_eq!(refused.code(), "gguf-truncated", "{end}");
    }
    assert_eq!(
        check(&header, size - 1).unwrap_err().code(),
        "gguf-truncated"
    );
}

#[test]
fn a_file_that_ends_within_the_padding_of_its_header_is_refused() {
    // One key, no tensor: 57 bytes, padded to 64. Found by fuzzing.
    let mut header = b"GGUF".to_vec();
    header.extend(3u32.to_le_bytes());
    header.extend(0u64.to_le_bytes());
    header.extend(1u64.to_le_bytes());
    header.extend(3u64.to_le_bytes());
    header.extend(b"key");
    header.extend(8u32.to_le_bytes());
    header.extend(10u64.to_le_bytes());
    header.extend(b"0123456789");
    let size = u64::try_from(header.len()).unwrap();
    for size in size..64 {
        let refused = check(&header, size).unwrap_err();
        assert_eq!(refused.code(), "gguf-truncated", "{size}");
    }
    assert_eq!(check(&header, 64).unwrap().unwrap().data_end, 64);
}

#[test]
fn a_header_that_does_not_end_within_the_limit_is_too_long() {
    let mut header = b"GGUF".to_vec();
    header.extend(3u32.to_le_bytes());
    header.extend(0u64.to_le_bytes());
    header.extend(100u64.to_le_bytes());
    while u64::try_from(header.len()).unwrap() < MAX_HEADER_BYTES {
        let n = header.len();
        let key = std::format!("k{n}");
        header.extend(u64::try_from(key.len()).unwrap().to_le_bytes());
        header.extend(key.as_bytes());
        header.extend(8u32.to_le_bytes());
        header.extend((1u64 << 20).to_le_bytes());
        header.resize(header.len() + (1 << 20), b'a');
    }
    header.truncate(usize::try_from(MAX_HEADER_BYTES).unwrap());
    assert_eq!(
        check(&header, u64::MAX).unwrap_err().code(),
        "gguf-header-too-long"
    );
}

proptest! {
    #[test]
    fn a_changed_byte_gives_a_header_or_a_typed_error(at in 0..good().len(), byte: u8) {
        let (mut header, size) = whole();
        header[at] = byte;
        match check(&header, size) {
            Ok(Some(found)) => prop_assert!(found.data_end <= size),
            Ok(None) => {}
            Err(error) => prop_assert!(error.code().starts_with("gguf-")),
        }
    }

    #[test]
    fn any_bytes_give_a_typed_error(bytes: Vec<u8>, size: u64) {
        let _ = check(&bytes, size);
    }
}
