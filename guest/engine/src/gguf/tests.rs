//! Hostile headers: each differs from a good one in one field, and is refused with its code.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::wildcard_enum_match_arm,
    reason = "tests state claims; a panic is the failure"
)]

use std::time::{Duration, Instant};

use proptest::prelude::*;

use model_format::gguf::HeaderError;

use super::ModelFile;
use crate::fixture::{Tiny, file_of};
use crate::load::Model;
use crate::refusal::ModelError;

/// Writes headers field by field.
#[derive(Default, Clone)]
struct Header(Vec<u8>);

impl Header {
    fn start(tensors: u64, keys: u64) -> Self {
        let mut header = Self(b"GGUF".to_vec());
        header.u32(3).u64(tensors).u64(keys);
        header
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn text(&mut self, text: &[u8]) -> &mut Self {
        self.u64(text.len() as u64).0.extend(text);
        self
    }

    fn tensor(&mut self, name: &str, dimensions: &[u64], kind: u32, offset: u64) -> &mut Self {
        self.text(name.as_bytes()).u32(dimensions.len() as u32);
        for dimension in dimensions {
            self.u64(*dimension);
        }
        self.u32(kind).u64(offset)
    }

    /// What opening it says, with so many bytes of data behind it.
    fn refusal(&self, data: usize) -> ModelError {
        let mut bytes = self.0.clone();
        bytes.resize(bytes.len().next_multiple_of(32) + data, 0);
        open(&bytes).unwrap_err()
    }
}

fn open(bytes: &[u8]) -> Result<(), ModelError> {
    let started = Instant::now();
    let opened = ModelFile::open(file_of(bytes)).map(drop);
    assert!(
        started.elapsed() < Duration::from_millis(500),
        "refused too slowly"
    );
    opened
}

#[test]
fn a_sound_header_opens() {
    let mut header = Header::start(2, 2);
    header.text(b"general.alignment").u32(4).u32(64);
    header
        .text(b"list")
        .u32(9)
        .u32(8)
        .u64(2)
        .text(b"a")
        .text(b"b");
    header.tensor("a", &[32, 2], 3, 0).tensor("b", &[4], 0, 64);
    let mut bytes = header.0.clone();
    bytes.resize(bytes.len().next_multiple_of(64) + 80, 0);
    assert_eq!(open(&bytes), Ok(()));
}

#[test]
fn refuses_what_is_no_model_file() {
    assert_eq!(Header(b"GGML".to_vec()).refusal(64).code(), "gguf-magic");
    assert_eq!(open(b"").unwrap_err().code(), "gguf-truncated");
    let mut header = Header(b"GGUF".to_vec());
    assert_eq!(
        header.u32(4).refusal(64),
        ModelError::Gguf(HeaderError::Version { found: 4 })
    );
}

#[test]
fn refuses_counts_beyond_their_limits() {
    for (tensors, keys) in [(u64::MAX, 0), (0, u64::MAX), (65_537, 0), (0, 4097)] {
        assert_eq!(
            Header::start(tensors, keys).refusal(0).code(),
            "gguf-too-many"
        );
    }
    let mut long_name = Header::start(0, 1);
    long_name.text(&[b'a'; 257]);
    let mut long_text = Header::start(0, 1);
    long_text.text(b"k").u32(8).u64(1 << 30);
    let mut long_array = Header::start(0, 1);
    long_array.text(b"k").u32(9).u32(0).u64(1 << 30);
    for header in [long_name, long_text, long_array] {
        assert_eq!(header.refusal(64).code(), "gguf-too-many");
    }
}

#[test]
fn refuses_many_arrays_that_are_too_long_together() {
    let mut header = Header::start(0, 2);
    for key in [b"a", b"b"] {
        header.text(key).u32(9).u32(0).u64(600_000);
        header.0.extend(vec![0; 600_000]);
    }
    assert_eq!(header.refusal(0).code(), "gguf-too-many");
}

#[test]
fn refuses_unknown_and_nested_types() {
    for kind in [13, u32::MAX] {
        let mut header = Header::start(0, 1);
        header.text(b"k").u32(kind).u64(0);
        assert_eq!(header.refusal(64).code(), "gguf-type");
    }
    let mut nested = Header::start(0, 1);
    nested.text(b"k").u32(9).u32(9).u64(1).u32(0).u64(0);
    assert_eq!(nested.refusal(64).code(), "gguf-type");
    let mut flag = Header::start(0, 1);
    flag.text(b"k").u32(7).0.push(2);
    assert_eq!(flag.refusal(64).code(), "gguf-type");
    let mut tensor = Header::start(1, 0);
    tensor.tensor("a", &[32], 39, 0);
    assert_eq!(tensor.refusal(64).code(), "gguf-type");
}

#[test]
fn refuses_malformed_strings() {
    for text in [&b"\xff"[..], b"a\0"] {
        let mut header = Header::start(0, 1);
        header.text(text).u32(4).u32(0);
        assert_eq!(header.refusal(64).code(), "gguf-text");
    }
}

#[test]
fn refuses_repeated_names() {
    let mut keys = Header::start(0, 2);
    keys.text(b"k").u32(4).u32(0).text(b"k").u32(4).u32(1);
    assert_eq!(keys.refusal(0).code(), "gguf-duplicate");
    let mut tensors = Header::start(2, 0);
    tensors.tensor("a", &[8], 0, 0).tensor("a", &[8], 0, 32);
    assert_eq!(tensors.refusal(64).code(), "gguf-duplicate");
}

#[test]
fn refuses_alignments_that_are_zero_odd_or_giant() {
    for alignment in [0, 4, 24, 33, 1 << 17, 1 << 31] {
        let mut header = Header::start(0, 1);
        header.text(b"general.alignment").u32(4).u32(alignment);
        assert_eq!(header.refusal(64).code(), "gguf-alignment");
    }
    let mut wide = Header::start(0, 1);
    wide.text(b"general.alignment").u32(10).u64(32);
    assert_eq!(wide.refusal(64).code(), "gguf-type");
}

#[test]
fn refuses_impossible_shapes() {
    let shapes: [&[u64]; 7] = [
        &[],
        &[0],
        &[32, 0],
        &[1 << 32, 1 << 32],
        &[1 << 63, 2],
        &[32, 1, 1, 1, 1],
        &[1 << 41],
    ];
    for shape in shapes {
        let mut header = Header::start(1, 0);
        header.tensor("a", shape, 0, 0);
        assert_eq!(header.refusal(256).code(), "gguf-shape", "{shape:?}");
    }
    let mut blocks = Header::start(1, 0);
    blocks.tensor("a", &[33, 32], 3, 0);
    assert_eq!(blocks.refusal(4096).code(), "gguf-shape");
}

#[test]
fn refuses_tensors_that_are_misplaced() {
    let mut overlap = Header::start(2, 0);
    overlap.tensor("a", &[16], 0, 0).tensor("b", &[16], 0, 32);
    let mut unaligned = Header::start(1, 0);
    unaligned.tensor("a", &[8], 0, 16);
    let mut far = Header::start(1, 0);
    far.tensor("a", &[8], 0, u64::MAX - 31);
    for header in [overlap, unaligned, far] {
        assert_eq!(
            header.refusal(256),
            ModelError::Gguf(HeaderError::Placement)
        );
    }
    let mut outside = Header::start(1, 0);
    outside.tensor("a", &[16], 0, 32);
    assert_eq!(outside.refusal(64).code(), "gguf-truncated");
}

#[test]
fn every_truncation_of_a_model_is_refused() {
    let bytes = Tiny::default().bytes();
    for end in (0..bytes.len())
        .step_by(997)
        .chain(bytes.len() - 64..bytes.len() - 32)
    {
        let refused = Model::read(file_of(&bytes[..end])).unwrap_err();
        assert_eq!(refused.code(), "gguf-truncated", "{end}");
    }
}

#[test]
fn a_giant_announced_size_costs_neither_time_nor_memory() {
    let mut header = Header::start(1, 0);
    header.tensor("a", &[1 << 40], 0, 0);
    assert_eq!(header.refusal(64).code(), "gguf-truncated");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn a_flipped_byte_gives_a_model_or_a_typed_error_but_no_panic(
        at in 0..9000_usize, value: u8,
    ) {
        let mut bytes = Tiny::default().bytes();
        bytes[at] = value;
        if let Err(error) = Model::read(file_of(&bytes)) {
            prop_assert!(error.code().starts_with("gguf-"));
        }
    }
}
