//! What crosses to the device and back in a step: one input and one output, always of the same
//! size, so that who watches the crossings learns neither how many answers run nor how long they
//! are.
//!
//! Input: 256 rows of eleven little-endian words (flags and above them how many of the likeliest,
//! slot, token, position, table index, page, one over the temperature, drawn bits low and high,
//! shares, penalties), then 64 pages to wipe, then the shifts of one slot (slot, how many, and 300
//! of a token and thousandths each). Output: 256 rows of two words
//! (token or 2^32 - 1, 1 when a logit was not finite). `kernels/rows.cu` reads and writes the same.
#![allow(
    clippy::arithmetic_side_effects,
    reason = "constants, and places below the fixed sizes"
)]

use crate::shape::MAX_ROWS;

/// Pages that a step can wipe.
pub const WIPES: u32 = 64;

/// Bytes of a row of input.
const ROW: u64 = 44;

/// Tokens whose logits are shifted in an answer, at most.
pub const SHIFTS: usize = 300;

/// Bytes of a slot's shifts, here and where the device keeps them.
pub const SHIFTS_BYTES: u64 = 8 + 8 * SHIFTS as u64;

/// Bytes that cross to the device in a step.
pub const INPUT_BYTES: u64 = SHIFTS_AT + SHIFTS_BYTES;

/// Bytes that come back.
pub const OUTPUT_BYTES: u64 = 8 * MAX_ROWS as u64;

/// Where the pages to wipe begin in the input.
pub const WIPES_AT: u64 = ROW * MAX_ROWS as u64;

/// Flags of a row.
const ACTIVE: u32 = 1;
const FEED: u32 = 2;
const SAMPLE: u32 = 4;
const FIRST: u32 = 8;
const SHIFTED: u32 = 16;

/// Above the flags of a row, from which bit on, stands how many of the likeliest may be drawn.
const LIKELIEST_AT: u32 = 8;

/// What does not fit there is more than any vocabulary has.
const MOST_LIKELIEST: u32 = u32::MAX >> LIKELIEST_AT;

/// Where the shifts begin in the input.
pub const SHIFTS_AT: u64 = WIPES_AT + 4 * WIPES as u64;

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
    /// In thousandths: what is taken from the logit of a token that the answer has.
    pub presence_milli: i16,
    /// And once more for each time that it has it.
    pub frequency_milli: i16,
    /// Whether it is the answer's first token: the answer has no other yet.
    pub first: bool,
    /// Whether the slot's shifts are the answer's.
    pub shifted: bool,
}

/// What is added to logits of a slot's answer. Told in the step in which its first token is chosen,
/// or before, behind all of the answer that had the slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shifts<'a> {
    /// Whose.
    pub slot: u32,
    /// Tokens, each at most once, with thousandths.
    pub of: &'a [(u32, i32)],
}

impl Choice {
    /// The greatest logit.
    pub const GREEDY: Self = Self {
        sharpness: 0.0,
        drawn: 0,
        top_k: 0,
        top_p_milli: 1000,
        min_p_milli: 0,
        presence_milli: 0,
        frequency_milli: 0,
        first: false,
        shifted: false,
    };

    /// Read from a row's words, as the device reads them: for devices that pretend.
    #[must_use]
    pub fn of([flags, sharpness, low, high, shares, penalties]: [u32; 6]) -> Self {
        let [a, b, c, d] = shares.to_le_bytes();
        let [e, f, g, h] = penalties.to_le_bytes();
        Self {
            sharpness: f32::from_bits(sharpness),
            drawn: u64::from(high) << 32 | u64::from(low),
            top_k: flags >> LIKELIEST_AT,
            top_p_milli: u16::from_le_bytes([a, b]),
            min_p_milli: u16::from_le_bytes([c, d]),
            presence_milli: i16::from_le_bytes([e, f]),
            frequency_milli: i16::from_le_bytes([g, h]),
            first: flags & FIRST > 0,
            shifted: flags & SHIFTED > 0,
        }
    }

    /// Whether tokens that the answer has are less likely, or more.
    #[must_use]
    pub const fn is_penalised(self) -> bool {
        self.presence_milli != 0 || self.frequency_milli != 0
    }

    fn flags(self) -> u32 {
        let first = if self.first { FIRST } else { 0 };
        let shifted = if self.shifted { SHIFTED } else { 0 };
        first | shifted | self.top_k.min(MOST_LIKELIEST) << LIKELIEST_AT
    }

    fn penalties(self) -> u32 {
        let [a, b] = self.presence_milli.to_le_bytes();
        let [c, d] = self.frequency_milli.to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
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

/// Writes a step's input: as many rows as fit, pages to wipe, and shifts of one slot.
#[must_use]
pub fn encode(rows: &[Row], wipes: &[u32], shifts: Option<Shifts<'_>>) -> Vec<u8> {
    let mut out = Vec::with_capacity(usize::try_from(INPUT_BYTES).unwrap_or(0));
    let mut put = |words: &[u32]| {
        for word in words {
            out.extend_from_slice(&word.to_le_bytes());
        }
    };
    let rows = rows.iter().map(Some).chain(std::iter::repeat(None));
    for row in rows.take(MAX_ROWS as usize) {
        let Some(row) = row else {
            put(&[0; 11]);
            continue;
        };
        let (fed, token, position) = match row.source {
            Source::Fed { token, position } => (FEED, token, position),
            Source::Chosen => (0, 0, 0),
        };
        let sample = if row.choice.is_some() { SAMPLE } else { 0 };
        let choice = row.choice.unwrap_or(Choice::GREEDY);
        let (index, page) = row.page.unwrap_or((NONE, NONE));
        let flags = ACTIVE | fed | sample | choice.flags();
        let [a, b, c, d, e, f, g, h] = choice.drawn.to_le_bytes();
        let low = u32::from_le_bytes([a, b, c, d]);
        let high = u32::from_le_bytes([e, f, g, h]);
        put(&[flags, row.slot, token, position, index, page]);
        put(&[choice.sharpness.to_bits(), low, high]);
        put(&[choice.shares(), choice.penalties()]);
    }
    let wipes = wipes.iter().copied().chain(std::iter::repeat(NONE));
    for page in wipes.take(WIPES as usize) {
        put(&[page]);
    }
    let (slot, shifts) = shifts.map_or((NONE, [].as_slice()), |shifts| (shifts.slot, shifts.of));
    let count = shifts.len().min(SHIFTS);
    put(&[slot, u32::try_from(count).unwrap_or(0)]);
    for (token, milli) in shifts.iter().take(SHIFTS) {
        put(&[*token, milli.cast_unsigned()]);
    }
    for _ in count..SHIFTS {
        put(&[0; 2]);
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
                presence_milli: -2000,
                frequency_milli: 3,
                first: true,
                shifted: false,
            }),
            page: Some((0, 11)),
        };
        let all = [(1, -1); 301];
        for (rows, wipes, shifts) in [(0, 0, 0), (1, 3, 1), (256, 64, 300), (300, 70, 301)] {
            let of = all.get(..shifts).unwrap();
            let shifts = (shifts > 0).then_some(Shifts { slot: 2, of });
            let bytes = encode(&vec![row; rows], &vec![1; wipes], shifts);
            assert_eq!(bytes.len() as u64, INPUT_BYTES);
        }
        let of = [(7, -5), (9, 6)];
        let bytes = encode(&[row], &[], Some(Shifts { slot: 2, of: &of }));
        let words: Vec<u32> = bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|word| u32::from_le_bytes(*word))
            .collect();
        let bits = 1.0_f32.to_bits();
        let (flags, shares) = (40 << 8 | 15, 50 << 16 | 900);
        let penalties = 3 << 16 | (65_536 - 2000);
        let expected = [flags, 3, 7, 9, 0, 11, bits, 5, 1, shares, penalties];
        assert_eq!(words[..11], expected);
        assert_eq!(words[2816..2880], [NONE; 64]);
        assert_eq!(words[2880..2887], [2, 2, 7, u32::MAX - 4, 9, 6, 0]);
        let read = Choice::of([0, 6, 7, 8, 9, 10].map(|at: usize| words[at]));
        assert_eq!(Some(read), row.choice);
        let all = Choice {
            top_k: u32::MAX,
            ..Choice::GREEDY
        };
        let choice = Some(all);
        let bytes = encode(&[Row { choice, ..row }], &[], None);
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
