//! Hostile headers: each differs from a good one in one thing, and is refused with its code.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

use std::borrow::ToOwned as _;
use std::format;
use std::string::{String, ToString as _};

use proptest::prelude::*;

use super::*;

const GOOD: &str = concat!(
    r#"{"__metadata__":{"format":"pt"},"#,
    r#""b":{"dtype":"F32","shape":[2,3],"data_offsets":[8,32]},"#,
    r#""a":{"dtype":"BF16","shape":[4],"data_offsets":[0,8]}}  "#
);

fn checked(header: &str, buffer: u64) -> Result<Vec<Tensor>, HeaderError> {
    let length = u64::try_from(header.len()).unwrap();
    check(header.as_bytes(), 8 + length + buffer)
}

fn code(header: &str, buffer: u64) -> &'static str {
    checked(header, buffer).unwrap_err().code()
}

#[test]
fn a_sound_header_gives_the_tensors_in_the_order_of_their_places() {
    let tensors = checked(GOOD, 32).unwrap();
    let start = 8 + u64::try_from(GOOD.len()).unwrap();
    let places: Vec<_> = tensors.iter().map(|t| (t.name.as_str(), t.begin)).collect();
    assert_eq!(places, [("a", start), ("b", start + 8)]);
    assert_eq!(tensors[1].end, start + 32);
    assert_eq!(tensors[1].shape, [2, 3]);
    assert_eq!(checked("{}", 0), Ok(Vec::new()));
}

#[test]
fn a_header_longer_than_the_file_or_than_any_models_is_refused_unread() {
    assert_eq!(header_length(100u64.to_le_bytes(), 108), Ok(100));
    let refused = header_length(101u64.to_le_bytes(), 108).unwrap_err();
    assert_eq!(refused, HeaderError::Truncated { file_bytes: 108 });
    assert_eq!(
        header_length([0; 8], 7).unwrap_err().code(),
        "safetensors-truncated"
    );
    for length in [MAX_HEADER_BYTES + 1, 100 << 20, u64::MAX] {
        let refused = header_length(length.to_le_bytes(), u64::MAX).unwrap_err();
        assert_eq!(refused.code(), "safetensors-header-too-long");
    }
}

#[test]
fn each_change_of_a_good_header_is_refused_with_its_code() {
    for (from, to, expected) in [
        (r#""b":"#, r#""a":"#, "safetensors-duplicate"),
        (r#""b":"#, r#""\u0061":"#, "safetensors-duplicate"),
        ("F32", "F33", "safetensors-type"),
        ("F32", "f32", "safetensors-type"),
        ("F32", "F64", "safetensors-size"),
        ("[2,3]", "[2,2]", "safetensors-size"),
        ("[2,3]", "[2,3,1,1,1,1,1,1,1]", "safetensors-shape"),
        ("[2,3]", "[18446744073709551615,2]", "safetensors-shape"),
        ("[2,3]", "[2,-3]", "safetensors-malformed"),
        ("[2,3]", "[2,3.0]", "safetensors-malformed"),
        ("[2,3]", "[2,null]", "safetensors-malformed"),
        ("[8,32]", "[32,8]", "safetensors-size"),
        ("[8,32]", "[4,28]", "safetensors-overlap"),
        ("[8,32]", "[12,36]", "safetensors-hole"),
        ("[8,32]", "[8,32,40]", "safetensors-malformed"),
        ("[8,32]", "[8,32],\"x\":1", "safetensors-malformed"),
        (
            "[8,32]",
            "[8,32],\"dtype\":\"F32\"",
            "safetensors-malformed",
        ),
        (r#""pt""#, "1", "safetensors-malformed"),
        (
            r#"{"format":"pt"}"#,
            r#"{"format":"pt","format":"pt"}"#,
            "safetensors-malformed",
        ),
        ("}}  ", "}} x", "safetensors-malformed"),
        ("}}  ", "}", "safetensors-malformed"),
        (r#"{"__"#, r#" {"__"#, "safetensors-malformed"),
    ] {
        let changed = GOOD.replacen(from, to, 1);
        assert_ne!(changed, GOOD, "{from}");
        assert_eq!(code(&changed, 32), expected, "{from} -> {to}");
    }
    let twice = GOOD.replacen("{\"__", "{\"__metadata__\":{},\"__", 1);
    assert_eq!(code(&twice, 32), "safetensors-duplicate");
}

#[test]
fn the_buffer_ends_with_the_file() {
    for buffer in [0, 31, 33, 1 << 40] {
        assert_eq!(code(GOOD, buffer), "safetensors-buffer-length");
    }
}

#[test]
fn an_identical_place_is_an_overlap_and_empty_tensors_are_taken() {
    let place = r#"{"dtype":"U8","shape":[4],"data_offsets":[0,4]}"#;
    let same = format!(r#"{{"a":{place},"b":{place}}}"#);
    assert_eq!(code(&same, 4), "safetensors-overlap");
    let empty = r#"{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#;
    assert_eq!(checked(empty, 0).unwrap().len(), 1);
}

#[test]
fn a_hundred_thousand_tensors_are_too_many() {
    let entry = |n: usize| format!(r#""t{n}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#);
    let entries = |count: usize| {
        let list: Vec<String> = (0..count).map(entry).collect();
        format!("{{{}}}", list.join(","))
    };
    assert_eq!(code(&entries(100_000), 0), "safetensors-too-many");
    assert_eq!(checked(&entries(1000), 0).unwrap().len(), 1000);
    let long = GOOD.replacen("\"b\"", &format!("\"{}\"", "b".repeat(257)), 1);
    assert_eq!(code(&long, 32), "safetensors-too-many");
}

#[test]
fn deep_nesting_is_refused_without_recursion() {
    let deep = format!(r#"{{"a":{}"#, "[".repeat(1 << 20));
    assert_eq!(code(&deep, 0), "safetensors-malformed");
}

#[test]
fn every_prefix_is_refused() {
    for end in 0..GOOD.len() - 2 {
        assert!(checked(&GOOD[..end], 32).is_err(), "{end}");
    }
}

proptest! {
    #[test]
    fn a_changed_byte_gives_tensors_or_a_typed_error(at in 0..GOOD.len(), byte: u8) {
        let mut header = GOOD.as_bytes().to_owned();
        header[at] = byte;
        let size = 8 + u64::try_from(header.len()).unwrap() + 32;
        if let Err(error) = check(&header, size) {
            prop_assert!(!error.to_string().is_empty());
            prop_assert!(error.code().starts_with("safetensors-"));
        }
    }

    #[test]
    fn any_bytes_give_a_typed_error_or_tensors(bytes: Vec<u8>, size: u64) {
        let _ = check(&bytes, size);
    }
}
