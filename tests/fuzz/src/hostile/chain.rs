//! Hostile answers of a lite-server: counts and lengths of its protocol, and bags of very many or
//! very deep cells.

use contracts::proof::MAX_BAG_BYTES;

use super::{Hostile, refused, taken};
use crate::chain::{account_bag, account_proof, configuration_bag, lite_answer};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// `liteServer.partialBlockProof`, `liteServer.error`.
const LINKS: u32 = 0x8ed0_d2c1;
const ERROR: u32 = 0xbba9_e148;
const TRUE: u32 = 0x9972_75b5;
const FORWARD: u32 = 0x520f_ce1c;
/// Bytes of a block's name.
const NAME: usize = 80;

pub(super) const ALL: &[Hostile] = &[
    refused("lite_answer", "2^32 links", || links(u32::MAX), lite_answer),
    refused(
        "lite_answer",
        "64 links of 16 MiB",
        || links(64),
        lite_answer,
    ),
    refused(
        "lite_answer",
        "3 MiB of zeros",
        || vec![0; 3 * MIB],
        lite_answer,
    ),
    taken(
        "lite_answer",
        "an error of 3 MiB",
        || [&ERROR.to_le_bytes()[..], &vec![7; 3 * MIB]].concat(),
        lite_answer,
    ),
    refused(
        "lite_answer",
        "a configuration of the smallest cells",
        || many(MAX_BAG_BYTES),
        configuration_bag,
    ),
    refused(
        "lite_answer",
        "a configuration of 65,000 cells in a row",
        || deep(65_000),
        configuration_bag,
    ),
    refused(
        "account_proof",
        "1 MiB of the smallest cells",
        || many(MAX_BAG_BYTES),
        account_bag,
    ),
    refused(
        "account_proof",
        "65,000 cells below each other",
        || deep(65_000),
        account_bag,
    ),
    refused(
        "account_proof",
        "more cells in a row than a depth counts",
        || deep(70_000),
        account_bag,
    ),
    refused("account_proof", "10 MiB", || vec![0; 10 * MIB], account_bag),
    refused(
        "account_proof",
        "every length 2^16",
        || vec![0xff; 4 * KIB],
        account_proof,
    ),
];

/// So many links are announced; one begins, with bytes that are not there.
fn links(count: u32) -> Vec<u8> {
    let mut answer = [LINKS, TRUE].map(u32::to_le_bytes).concat();
    answer.extend([0; 2 * NAME]);
    answer.extend(count.to_le_bytes());
    answer.extend([FORWARD, TRUE].map(u32::to_le_bytes).concat());
    answer.extend([0; 2 * NAME]);
    answer.extend([254, 255, 255, 255]);
    answer
}

/// A bag of cells without data, each with references to these others.
fn cells(count: usize, references: impl Fn(usize) -> Vec<usize>) -> Vec<u8> {
    let number = |at: usize| {
        let [_, a, b, c] = u32::try_from(at).expect("a number of cells").to_be_bytes();
        [a, b, c]
    };
    let mut content = Vec::new();
    for at in 0..count {
        let below = references(at);
        content.extend([u8::try_from(below.len()).expect("four at most"), 0]);
        below.into_iter().for_each(|to| content.extend(number(to)));
    }
    // Three bytes for an index and for a size; one root, none absent, the root is the first.
    let mut bag = vec![0xb5, 0xee, 0x9c, 0x72, 3, 3];
    for field in [count, 1, 0, content.len(), 0] {
        bag.extend(number(field));
    }
    bag.extend(content);
    bag
}

/// As many cells as the length has room for, in four rows below a root: wide trees end in empty
/// cells, for which nothing is allocated.
pub(super) fn many(length: usize) -> Vec<u8> {
    let row = (length / 5 - 20) / 4;
    cells(4 * row + 1, |at| match at {
        0 => (0..4).map(|nth| nth * row + 1).collect(),
        _ if at % row == 0 => Vec::new(),
        _ => vec![at + 1],
    })
}

/// Each cell below the one before it.
pub(super) fn deep(count: usize) -> Vec<u8> {
    cells(count, |at| (at + 1..count).take(1).collect())
}
