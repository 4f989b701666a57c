//! Edges of Ed25519 in signed notes: which keys are keys, and which signatures are signatures, as
//! others' collections of edges have them. Keys and signatures were computed for this file by a few
//! lines of Python over big integers; the points of small order are known.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests state claims; a panic is the failure"
)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::digest::parse_hex;
use sha2::{Digest as _, Sha256};
use transparency::note::{NoteError, SignedNote, VerifierKey};

const NAME: &str = "log.example/edges";
const TEXT: &str = "edges of a note\n";
const KEY: &str = "0f7608783489684c04726001595638e5258c2ed0bdb3d18d9e3453ea8bb458ad";
const R: &str = "b31b20f50426242514d81b383548bd90de72fd0b8cf2382a88f9f52ce5076b23";
const S: &str = "05eb42a17dc0e4a2db3a665ce6d1ba77186a5829c4f0281ee4a31cc3047d690a";
const ZERO: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// [`KEY`] and a point of order 8.
const MIXED_KEY: &str = "c668425144eca1e8f9a8e178986f150a310e6f426cbc38a42c17a9e0c0e71982";
/// Every encoding of a point whose order divides 8, those that are not canonical too.
const SMALL: [&str; 14] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    ZERO,
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
];

fn bytes(hex: &str) -> Vec<u8> {
    parse_hex::<32>(hex).unwrap().to_vec()
}

/// What tells the key apart in a signature's line, as the format has it.
fn id(key: &[u8]) -> [u8; 4] {
    let text = [NAME.as_bytes(), b"\n", &[1], key].concat();
    Sha256::digest(text)[..4].try_into().unwrap()
}

fn key(bytes: &[u8]) -> Result<VerifierKey, NoteError> {
    let [a, b, c, d] = id(bytes);
    let typed = STANDARD.encode([&[1], bytes].concat());
    format!("{NAME}+{a:02x}{b:02x}{c:02x}{d:02x}+{typed}").parse()
}

/// What is said of a note with this signature by this key.
fn verdict(key_hex: &str, signature: &[u8]) -> Result<(), NoteError> {
    let by = bytes(key_hex);
    let line = STANDARD.encode([&id(&by), signature].concat());
    let note = format!("{TEXT}\n\u{2014} {NAME} {line}\n");
    let note = SignedNote::parse(note.as_bytes())?;
    note.verify(&key(&by)?).map(|text| assert_eq!(text, TEXT))
}

fn of(key: &str, r: &str, s: &str) -> Result<(), NoteError> {
    verdict(key, &[bytes(r), bytes(s)].concat())
}

const WRONG: Result<(), NoteError> = Err(NoteError::WrongSignature);

#[test]
fn a_signature_has_one_encoding_of_its_scalar() {
    assert_eq!(of(KEY, R, S), Ok(()));
    for other in [
        // S and the group's order; the order alone; high bits set; nothing; all ones.
        "f2be38fe9723f7fab1d75dffc4cb998c186a5829c4f0281ee4a31cc3047d691a",
        "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010",
        "05eb42a17dc0e4a2db3a665ce6d1ba77186a5829c4f0281ee4a31cc3047d69ea",
        ZERO,
        &"ff".repeat(32),
    ] {
        assert_eq!(of(KEY, R, other), WRONG, "{other}");
    }
    assert_eq!(of(KEY, ZERO, ZERO), WRONG);
    assert_eq!(of(KEY, S, R), WRONG);
}

#[test]
fn a_signature_is_of_64_bytes() {
    let whole = [bytes(R), bytes(S)].concat();
    assert_eq!(verdict(KEY, &[]), Err(NoteError::SignatureLine { line: 1 }));
    for length in 1..64 {
        assert_eq!(verdict(KEY, &whole[..length]), WRONG, "{length} bytes");
    }
    assert_eq!(verdict(KEY, &[whole.as_slice(), &[0]].concat()), WRONG);
    assert_eq!(verdict(KEY, &whole.repeat(2)), WRONG);
}

#[test]
fn a_key_of_small_order_is_no_key() {
    for small in SMALL {
        assert_eq!(key(&bytes(small)), Err(NoteError::Key), "{small}");
        assert_eq!(of(small, SMALL[0], ZERO), Err(NoteError::Key), "{small}");
    }
}

#[test]
fn a_key_is_a_point_in_32_bytes() {
    assert!(key(&bytes(KEY)).is_ok());
    let no_point = "0200000000000000000000000000000000000000000000000000000000000000";
    assert_eq!(key(&bytes(no_point)), Err(NoteError::Key));
    let whole = bytes(KEY);
    for other in [&[], &whole[..31], &[whole.as_slice(), &[0]].concat()] {
        assert_eq!(key(other), Err(NoteError::Key), "{} bytes", other.len());
    }
}

#[test]
fn an_r_of_small_order_is_refused_where_the_equation_holds_too() {
    // The neutral point, in three encodings, of which two are not canonical.
    for (r, s) in [
        (
            SMALL[0],
            "281ba24f4eb45e15cb524309b1a0a538b64d52531bf62503987f3c420dce2908",
        ),
        (
            SMALL[12],
            "6038041fb62b8b56f7b677f18b11c35a552d05568895991479d14022ff04c405",
        ),
        (
            SMALL[1],
            "eeaeba431f49dc7d1ba4cee00a032660cc7f7e3dbe161bf0b56cb51bf4256e0a",
        ),
    ] {
        assert_eq!(of(KEY, r, s), WRONG, "{r}");
    }
    for r in SMALL {
        assert_eq!(of(KEY, r, S), WRONG, "{r}");
    }
}

#[test]
fn what_holds_only_up_to_the_cofactor_does_not_hold() {
    let r = "186ed2bdbd1a36f6437c5168b0221914018ea4f32a1c3fcd1c1794d64fbd596e";
    let s = "9b31942658143e9eaa001f2a8b0a1990bf148cda5a31e9b56fe4e2c56f73ea08";
    assert_eq!(of(KEY, r, s), WRONG, "R with a part of small order");
    let r = "bf95a568682f381843a8cfdc89baf805ddfc3c01341e0aefdfbf5f4b2c7e7b56";
    let s = "4a5c8ece673a60894c4fcd6aed60969ebb02c1d7bf88778f16a8c7b883dd1d05";
    assert_eq!(
        of(MIXED_KEY, r, s),
        WRONG,
        "a key with a part of small order"
    );
}

#[test]
fn a_key_with_a_part_of_small_order_is_a_key_and_signs_where_that_part_vanishes() {
    // Who made such a key harms nobody but himself: nobody else signs by it.
    let r = "c23bf7b0d5ab322da82632c07eb31de3ec39ca616c49decc052372210b940405";
    let s = "e64c92ebd086127229c9c4bb5392ea0c1b8e995be6b438ee71ecb80b209d090c";
    assert_eq!(of(MIXED_KEY, r, s), Ok(()));
    assert_eq!(of(KEY, r, s), WRONG);
}
