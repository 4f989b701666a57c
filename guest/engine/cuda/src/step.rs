//! What crosses to the device and back in a step: one input and one output, always of the same
//! size, so that who watches the crossings learns neither how many answers run nor how long they
//! are.
//!
//! Input: 256 rows of ten little-endian words (flags, slot, token, position, table index, page,
//! temperature, seed low, seed high, zero), then 64 pages to wipe. Output: 256 rows of two words
//! (token or 2^32 - 1, 1 when a logit was not finite). `kernels/rows.cu` reads and writes the same.
#![allow(
    clippy::arithmetic_side_effects,
    reason = "constants, and places below the fixed sizes"
)]

use crate::shape::MAX_ROWS;

/// Pages that a step can wipe.
pub const WIPES: u32 = 64;

/// Bytes of a row of input.
const ROW: u64 = 40;

/// Bytes that cross to the device in a step.
pub const INPUT_BYTES: u64 = ROW * MAX_ROWS as u64 + 4 * WIPES as u64;

/// Bytes that come back.
pub const OUTPUT_BYTES: u64 = 8 * MAX_ROWS as u64;

/// Where the pages to wipe begin in the input.
pub const WIPES_AT: u64 = ROW * MAX_ROWS as u64;

/// "No page", "no token".
pub const NONE: u32 = u32::MAX;

/// Where a row's token comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The host says token and position.
    Fed {
        /// Token.
        token: u32,
        /// Its position.
        position: u32,
    },
    /// What was chosen for this slot in the step before, one position on. It need not have reached
    /// the host yet.
    Chosen,
}

/// One row of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// Whose answer.
    pub slot: u32,
    /// Which token.
    pub source: Source,
    /// Whether a next token is chosen. Of rows of one slot in a step, the last one at most.
    pub choice: Option<Choice>,
    /// A page that the slot gets with this row: its place in the table, its number.
    pub page: Option<(u32, u32)>,
}

/// How a token is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// 0: the greatest logit.
    pub temperature: f32,
    /// With the position, all that the draw depends on.
    pub seed: u64,
}

impl Choice {
    /// The greatest logit.
    pub const GREEDY: Self = Self {
        temperature: 0.0,
        seed: 0,
    };
}

/// What came back for a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chosen {
    /// The row asked for no token.
    Nothing,
    /// A token.
    Token(u32),
    /// A logit was not finite: this answer fails, no other.
    Broken,
}

/// Writes a step's input: as many rows as fit, and pages to wipe.
#[must_use]
pub fn encode(rows: &[Row], wipes: &[u32]) -> Vec<u8> {
    let mut out = Vec::with_capacity(usize::try_from(INPUT_BYTES).unwrap_or(0));
    let mut put = |words: &[u32]| {
        for word in words {
            out.extend_from_slice(&word.to_le_bytes());
        }
    };
    let rows = rows.iter().map(Some).chain(std::iter::repeat(None));
    for row in rows.take(MAX_ROWS as usize) {
        let Some(row) = row else {
            put(&[0; 10]);
            continue;
        };
        let (fed, token, position) = match row.source {
            Source::Fed { token, position } => (2, token, position),
            Source::Chosen => (0, 0, 0),
        };
        let sample = if row.choice.is_some() { 4 } else { 0 };
        let choice = row.choice.unwrap_or(Choice::GREEDY);
        let (index, page) = row.page.unwrap_or((NONE, NONE));
        let [a, b, c, d, e, f, g, h] = choice.seed.to_le_bytes();
        let seed = [
            u32::from_le_bytes([a, b, c, d]),
            u32::from_le_bytes([e, f, g, h]),
        ];
        put(&[1 | fed | sample, row.slot, token, position, index, page]);
        put(&[choice.temperature.to_bits(), seed[0], seed[1], 0]);
    }
    let wipes = wipes.iter().copied().chain(std::iter::repeat(NONE));
    for page in wipes.take(WIPES as usize) {
        put(&[page]);
    }
    out
}

/// Reads a step's output.
#[must_use]
pub fn decode(bytes: &[u8]) -> Vec<Chosen> {
    let (rows, _) = bytes.as_chunks::<8>();
    let read = |[a, b, c, d, e, f, g, h]: [u8; 8]| {
        let token = u32::from_le_bytes([a, b, c, d]);
        match (token, u32::from_le_bytes([e, f, g, h])) {
            (NONE, _) => Chosen::Nothing,
            (token, 0) => Chosen::Token(token),
            _ => Chosen::Broken,
        }
    };
    rows.iter().map(|row| read(*row)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_has_one_size_whatever_is_in_it() {
        let row = Row {
            slot: 3,
            source: Source::Fed {
                token: 7,
                position: 9,
            },
            choice: Some(Choice {
                temperature: 1.0,
                seed: 1 << 32 | 5,
            }),
            page: Some((0, 11)),
        };
        for (rows, wipes) in [(0, 0), (1, 3), (256, 64), (300, 70)] {
            let bytes = encode(&vec![row; rows], &vec![1; wipes]);
            assert_eq!(bytes.len() as u64, INPUT_BYTES);
        }
        let bytes = encode(&[row], &[]);
        let words: Vec<u32> = bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|word| u32::from_le_bytes(*word))
            .collect();
        let bits = 1.0_f32.to_bits();
        assert_eq!(words[..10], [7, 3, 7, 9, 0, 11, bits, 5, 1, 0]);
        assert_eq!(words[2560..], [NONE; 64]);
    }

    #[test]
    fn an_output_says_nothing_token_or_broken() {
        let words = [NONE, 0, 5, 0, 6, 1];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let expected = [Chosen::Nothing, Chosen::Token(5), Chosen::Broken];
        assert_eq!(decode(&bytes), expected);
    }
}
