//! JSON within a pair of quotes, and JSON's numbers, byte by byte.

/// Longest number, in bytes.
const MAX_NUMBER: u8 = 40;

/// Where in a quoted text an answer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inside {
    /// Between two characters.
    Plain,
    /// Within a character: so many bytes are missing, the next of them in this range.
    Tail { left: u8, low: u8, high: u8 },
    /// After a backslash.
    Slash,
    /// After `\u` and this many digits; nothing that begins with `d` and could be a surrogate.
    Hex { digits: u8, surrogate: bool },
}

/// What a byte does to a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It goes on.
    On(Inside),
    /// It goes on with a further character.
    Character(Inside),
    /// It is closed.
    Closed,
}

impl Inside {
    /// After one more byte, if that may come.
    pub(super) fn step(self, byte: u8) -> Option<Step> {
        match self {
            Self::Plain => plain(byte),
            Self::Tail { left, low, high } => {
                let next = match left {
                    1 => Self::Plain,
                    _ => tail(left.saturating_sub(1), 0x80, 0xbf),
                };
                (low..=high).contains(&byte).then_some(Step::On(next))
            }
            Self::Slash => match byte {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {
                    Some(Step::Character(Self::Plain))
                }
                b'u' => Some(Step::On(Self::Hex {
                    digits: 0,
                    surrogate: false,
                })),
                _ => None,
            },
            Self::Hex { digits, surrogate } => hex(digits, surrogate, byte),
        }
    }
}

const fn tail(left: u8, low: u8, high: u8) -> Inside {
    Inside::Tail { left, low, high }
}

/// Well-formed UTF-8 (Unicode 3.9, table 3-7), without control characters.
fn plain(byte: u8) -> Option<Step> {
    let next = match byte {
        b'"' => return Some(Step::Closed),
        b'\\' => return Some(Step::On(Inside::Slash)),
        0x20..=0x7f => Inside::Plain,
        0xc2..=0xdf => tail(1, 0x80, 0xbf),
        0xe0 => tail(2, 0xa0, 0xbf),
        0xed => tail(2, 0x80, 0x9f),
        0xe1..=0xef => tail(2, 0x80, 0xbf),
        0xf0 => tail(3, 0x90, 0xbf),
        0xf1..=0xf3 => tail(3, 0x80, 0xbf),
        0xf4 => tail(3, 0x80, 0x8f),
        0x00..=0x1f | 0x80..=0xc1 | 0xf5..=0xff => return None,
    };
    Some(Step::Character(next))
}

fn hex(digits: u8, surrogate: bool, byte: u8) -> Option<Step> {
    let allowed = byte.is_ascii_hexdigit();
    let forbidden = digits == 1 && surrogate && !matches!(byte, b'0'..=b'7');
    if !allowed || forbidden {
        return None;
    }
    Some(match digits {
        3 => Step::Character(Inside::Plain),
        _ => Step::On(Inside::Hex {
            digits: digits.saturating_add(1),
            surrogate: digits == 0 && matches!(byte, b'd' | b'D'),
        }),
    })
}

/// Where in a number an answer stands, and how long the number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Digits {
    place: Place,
    length: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    Minus,
    Zero,
    Whole,
    Point,
    Fraction,
    Exponent,
    Sign,
    Power,
    LastPower,
}

impl Digits {
    pub(super) const START: Self = Self {
        place: Place::Start,
        length: 0,
    };

    /// Whether it may end here.
    pub(super) fn is_number(self) -> bool {
        match self.place {
            Place::Zero | Place::Whole | Place::Fraction | Place::Power | Place::LastPower => true,
            Place::Start | Place::Minus | Place::Point | Place::Exponent | Place::Sign => false,
        }
    }

    /// After one more byte, if that may come.
    pub(super) fn step(self, byte: u8, whole: bool) -> Option<Self> {
        let place = match (self.place, byte) {
            (Place::Start, b'-') => Place::Minus,
            (Place::Start | Place::Minus, b'0') => Place::Zero,
            (Place::Start | Place::Minus, b'1'..=b'9') | (Place::Whole, b'0'..=b'9') => {
                Place::Whole
            }
            (Place::Zero | Place::Whole, b'.') if !whole => Place::Point,
            (Place::Point | Place::Fraction, b'0'..=b'9') => Place::Fraction,
            (Place::Zero | Place::Whole | Place::Fraction, b'e' | b'E') if !whole => {
                Place::Exponent
            }
            (Place::Exponent, b'+' | b'-') => Place::Sign,
            // Two digits: no number leaves the range of doubles.
            (Place::Exponent | Place::Sign, b'0'..=b'9') => Place::Power,
            (Place::Power, b'0'..=b'9') => Place::LastPower,
            (
                Place::Start
                | Place::Minus
                | Place::Zero
                | Place::Whole
                | Place::Point
                | Place::Fraction
                | Place::Exponent
                | Place::Sign
                | Place::Power
                | Place::LastPower,
                _,
            ) => return None,
        };
        let length = self.length.checked_add(1)?;
        let next = Self { place, length };
        // Near the limit nothing is begun that could not be ended within it.
        (length < MAX_NUMBER || next.is_number() && length == MAX_NUMBER).then_some(next)
    }
}
