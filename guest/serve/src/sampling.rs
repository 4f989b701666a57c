//! The members of a request that say how its tokens are drawn: their ranges, and the rounding that
//! receipts state. Not here: what the engine does with them (`docs/spec/engine-ipc.md`).

use std::ops::RangeInclusive;

use bounded_json::Json;
use messages::engine_ipc::{MAX_BIAS_MILLI, MAX_BIASES, TokenBias};
use protocol::receipt::Sampling;

use crate::errors::Refusal;

/// How a client wants its tokens drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drawing {
    /// Temperature in thousandths, 0 to 2000.
    pub temperature_milli: u32,
    /// Nucleus probability in thousandths, 1 to 1000.
    pub top_p_milli: u32,
    /// How many of the likeliest tokens are drawn from; 0 for all.
    pub top_k: u32,
    /// Least probability in thousandths of the likeliest one's, 0 to 1000.
    pub min_p_milli: u32,
    /// Penalty of a token that the answer has, in thousandths, -2000 to 2000.
    pub presence_milli: i32,
    /// Penalty for each time that it has it, in thousandths, -2000 to 2000.
    pub frequency_milli: i32,
    /// Seed, if the client chose one.
    pub seed: Option<u64>,
    /// Shifts of logits, by token.
    pub biases: Vec<TokenBias>,
}

impl Default for Drawing {
    fn default() -> Self {
        Self {
            temperature_milli: 1000,
            top_p_milli: 1000,
            top_k: 0,
            min_p_milli: 0,
            presence_milli: 0,
            frequency_milli: 0,
            seed: None,
            biases: Vec::new(),
        }
    }
}

impl Drawing {
    /// Takes a member that is one of these; gives back any other. `null` leaves the default.
    pub(crate) fn take(&mut self, name: &str, value: Json) -> Result<Option<Json>, Refusal> {
        if matches!(value, Json::Null) && MEMBERS.contains(&name) {
            return Ok(None);
        }
        match name {
            "temperature" => {
                self.temperature_milli = share(&value, "temperature", 0.0..=2.0)?;
            }
            "top_p" => {
                self.top_p_milli = share(&value, "top_p", 0.0..=1.0)?;
                if self.top_p_milli == 0 {
                    return Err(invalid("top_p"));
                }
            }
            "top_k" => self.top_k = top_k(&value)?,
            "min_p" => self.min_p_milli = share(&value, "min_p", 0.0..=1.0)?,
            "presence_penalty" => {
                self.presence_milli = thousandths(&value, "presence_penalty", -2.0..=2.0)?;
            }
            "frequency_penalty" => {
                self.frequency_milli = thousandths(&value, "frequency_penalty", -2.0..=2.0)?;
            }
            "seed" => self.seed = Some(seed(&value)?),
            "logit_bias" => self.biases = biases(value)?,
            _ => return Ok(Some(value)),
        }
        Ok(None)
    }

    /// What the engine is told and the receipt states, with a seed that was drawn.
    pub(crate) fn sampling(&self, drawn: u64, max_tokens: u32) -> Sampling {
        Sampling {
            temperature_milli: self.temperature_milli,
            top_p_milli: self.top_p_milli,
            top_k: self.top_k,
            min_p_milli: self.min_p_milli,
            presence_milli: self.presence_milli,
            frequency_milli: self.frequency_milli,
            seed: self.seed.unwrap_or(drawn),
            max_tokens,
        }
    }
}

const MEMBERS: [&str; 8] = [
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "logit_bias",
];

const fn invalid(member: &'static str) -> Refusal {
    Refusal::InvalidMember { member }
}

/// A whole number.
pub(crate) fn whole(value: &Json, member: &'static str) -> Result<i128, Refusal> {
    if let Json::Whole(number) = value {
        return Ok(*number);
    }
    Err(invalid(member))
}

/// A number in a small range as thousandths, half rounded away from zero.
fn thousandths(
    value: &Json,
    member: &'static str,
    range: RangeInclusive<f64>,
) -> Result<i32, Refusal> {
    let refused = || invalid(member);
    let number = match value {
        // Whole numbers in range are small: no digit is lost.
        Json::Whole(number) => f64::from(i32::try_from(*number).map_err(|_| refused())?),
        Json::Real(number) => *number,
        Json::Null | Json::Bool(_) | Json::Text(_) | Json::List(_) | Json::Object(_) => {
            return Err(refused());
        }
    };
    if !range.contains(&number) {
        return Err(refused());
    }
    // No lossless cast from floats exists; the text of a whole number is exact.
    let rounded = (number * 1000.0).round();
    format!("{rounded:.0}").parse().map_err(|_| refused())
}

/// The same for what is not negative.
fn share(value: &Json, member: &'static str, range: RangeInclusive<f64>) -> Result<u32, Refusal> {
    let milli = thousandths(value, member, range)?;
    u32::try_from(milli).map_err(|_| invalid(member))
}

/// -1 and 0 stand for all tokens, as other servers take them.
fn top_k(value: &Json) -> Result<u32, Refusal> {
    match whole(value, "top_k")? {
        -1 => Ok(0),
        number => u32::try_from(number).map_err(|_| invalid("top_k")),
    }
}

/// OpenAI's seeds are signed; both ranges of 64 bits are taken.
fn seed(value: &Json) -> Result<u64, Refusal> {
    let number = whole(value, "seed")?;
    i64::try_from(number)
        .map(i64::cast_unsigned)
        .or_else(|_| u64::try_from(number))
        .map_err(|_| invalid("seed"))
}

/// An object of token numbers, each written in one way only, and shifts of -100 to 100.
fn biases(value: Json) -> Result<Vec<TokenBias>, Refusal> {
    const MEMBER: &str = "logit_bias";
    let Json::Object(members) = value else {
        return Err(invalid(MEMBER));
    };
    if members.len() > MAX_BIASES {
        return Err(invalid(MEMBER));
    }
    let most = f64::from(MAX_BIAS_MILLI) / 1000.0;
    let mut biases = Vec::with_capacity(members.len());
    for (name, value) in members {
        let token: u32 = name.parse().map_err(|_| invalid(MEMBER))?;
        if token.to_string() != name {
            return Err(invalid(MEMBER));
        }
        let milli = thousandths(&value, MEMBER, -most..=most)?;
        biases.push(TokenBias { token, milli });
    }
    biases.sort_unstable_by_key(|bias| bias.token);
    Ok(biases)
}
