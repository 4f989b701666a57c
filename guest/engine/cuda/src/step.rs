//! What crosses to the device and back in a step: one input and one output, always of the same
//! size, so that who watches the crossings learns neither how many answers run nor how long they
//! are.
//!
//! Input: 256 rows of ten little-endian words (flags and above them how many of the likeliest,
//! slot, token, position, table index, page, one over the temperature, drawn bits low and high,
//! shares), then 64 pages to wipe. Output: 256 rows of two words
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

/// Above the flags of a row, from which bit on, stands how many of the likeliest may be drawn.
const LIKELIEST_AT: u32 = 8;

/// What does not fit there is more than any vocabulary has.
const MOST_LIKELIEST: u32 = u32::MAX >> LIKELIEST_AT;

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
    /// One over the temperature; 0: the greatest logit, and nothing below counts.
    pub sharpness: f32,
    /// What the draw depends on; its upper 53 bits count.
    pub drawn: u64,
    /// How many of the likeliest may be drawn; 0: all.
    pub top_k: u32,
    /// In thousandths: what share of the weight those make up that may be drawn; 1000: all.
    pub top_p_milli: u16,
    /// In thousandths: what part of the likeliest one's weight a token must have; 0: any.
    pub min_p_milli: u16,
}

impl Choice {
    /// The greatest logit.
    pub const GREEDY: Self = Self {
        sharpness: 0.0,
        drawn: 0,
        top_k: 0,
        top_p_milli: 1000,
        min_p_milli: 0,
    };

    /// Read from a row's words, as the device reads them: for devices that pretend.
    #[must_use]
    pub fn of([flags, sharpness, low, high, shares]: [u32; 5]) -> Self {
        let [a, b, c, d] = shares.to_le_bytes();
        Self {
            sharpness: f32::from_bits(sharpness),
            drawn: u64::from(high) << 32 | u64::from(low),
            top_k: flags >> LIKELIEST_AT,
            top_p_milli: u16::from_le_bytes([a, b]),
            min_p_milli: u16::from_le_bytes([c, d]),
        }
    }

    /// The word that top-p and min-p share.
    fn shares(self) -> u32 {
        u32::from(self.min_p_milli) << 16 | u32::from(self.top_p_milli)
    }
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
        let flags = 1 | fed | sample | choice.top_k.min(MOST_LIKELIEST) << LIKELIEST_AT;
        let [a, b, c, d, e, f, g, h] = choice.drawn.to_le_bytes();
        let low = u32::from_le_bytes([a, b, c, d]);
        let high = u32::from_le_bytes([e, f, g, h]);
        put(&[flags, row.slot, token, position, index, page]);
        put(&[choice.sharpness.to_bits(), low, high, choice.shares()]);
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
                sharpness: 1.0,
                drawn: 1 << 32 | 5,
                top_k: 40,
                top_p_milli: 900,
                min_p_milli: 50,
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
        let (flags, shares) = (40 << 8 | 7, 50 << 16 | 900);
        assert_eq!(words[..10], [flags, 3, 7, 9, 0, 11, bits, 5, 1, shares]);
        assert_eq!(words[2560..], [NONE; 64]);
        let read = Choice::of([words[0], words[6], words[7], words[8], words[9]]);
        assert_eq!(Some(read), row.choice);
        let all = Choice {
            top_k: u32::MAX,
            ..Choice::GREEDY
        };
        let choice = Some(all);
        let bytes = encode(&[Row { choice, ..row }], &[]);
        assert_eq!(bytes[..4], [7, 0xff, 0xff, 0xff]);
    }

    #[test]
    fn an_output_says_nothing_token_or_broken() {
        let words = [NONE, 0, 5, 0, 6, 1];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let expected = [Chosen::Nothing, Chosen::Token(5), Chosen::Broken];
        assert_eq!(decode(&bytes), expected);
    }
}
