//! The probabilities that a chunk tells of its token: their shape and their bounds.
//!
//! They are passed on as they came, and money does not depend on them; but nothing goes to the user
//! that has not the form of docs/spec/serving.md §6, or that nobody asked for.

use serde::Deserialize;

/// Tokens that are told beside the one that was taken.
const MAX_ALTERNATIVES: usize = 20;
/// Bytes of one token.
const MAX_TOKEN_BYTES: usize = 256;

/// What a chunk tells: of one token, or of none where it is the end token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probabilities {
    /// How many alternatives stand beside the token, if there is one.
    pub alternatives: Option<usize>,
}

impl Probabilities {
    /// Whether a chunk tells what was asked for, and nothing else.
    #[must_use]
    pub fn answer(told: Option<Self>, asked: Option<u8>, is_token: bool) -> bool {
        match (told, asked) {
            (None, None) => true,
            (None, Some(_)) => !is_token,
            (Some(_), None) => false,
            (Some(told), Some(asked)) => {
                let most = usize::from(asked);
                is_token && told.alternatives.is_none_or(|count| count <= most)
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireLogprobs {
    content: Vec<WireTaken>,
    refusal: Option<()>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireTaken {
    token: String,
    logprob: f64,
    bytes: Vec<u8>,
    top_logprobs: Vec<WireToken>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireToken {
    token: String,
    logprob: f64,
    bytes: Vec<u8>,
}

impl WireLogprobs {
    /// What they tell, if they are well formed.
    pub(super) fn check(&self) -> Option<Probabilities> {
        let Self {
            content,
            refusal: None,
        } = self
        else {
            return None;
        };
        let taken = match content.as_slice() {
            [] => return Some(Probabilities { alternatives: None }),
            [taken] => taken,
            [_, _, ..] => return None,
        };
        let others = &taken.top_logprobs;
        let sound = is_sound(&taken.token, taken.logprob, &taken.bytes)
            && others.len() <= MAX_ALTERNATIVES
            && others
                .iter()
                .all(|other| is_sound(&other.token, other.logprob, &other.bytes))
            && others.is_sorted_by(|left, right| left.logprob >= right.logprob);
        sound.then_some(Probabilities {
            alternatives: Some(others.len()),
        })
    }
}

/// A text that is that of its bytes, and the logarithm of a probability.
fn is_sound(token: &str, logprob: f64, bytes: &[u8]) -> bool {
    bytes.len() <= MAX_TOKEN_BYTES
        && String::from_utf8_lossy(bytes) == token
        && logprob.is_finite()
        && logprob <= 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(logprobs: &str) -> Option<Option<usize>> {
        let parsed: WireLogprobs = serde_json::from_str(logprobs).ok()?;
        parsed.check().map(|told| told.alternatives)
    }

    fn taken(token: &str, logprob: &str, bytes: &str, others: &str) -> String {
        format!(
            "{{\"content\":[{{\"token\":\"{token}\",\"logprob\":{logprob},\"bytes\":{bytes},\
             \"top_logprobs\":[{others}]}}],\"refusal\":null}}"
        )
    }

    const A: &str = r#"{"token":"a","logprob":-0.5,"bytes":[97]}"#;
    const B: &str = r#"{"token":"b","logprob":-1.5,"bytes":[98]}"#;

    #[test]
    fn takes_the_specified_shape_only() {
        let two = format!("{A},{B}");
        assert_eq!(check(&taken("a", "-0.5", "[97]", &two)), Some(Some(2)));
        assert_eq!(check(&taken("\u{fffd}", "0", "[255]", "")), Some(Some(0)));
        assert_eq!(check(r#"{"content":[],"refusal":null}"#), Some(None));
        let falling = format!("{B},{A}");
        let many = [A; 21].join(",");
        let long = format!("[{}]", ["97"; 257].join(","));
        for bad in [
            taken("a", "0.1", "[97]", ""),
            taken("a", "1e999", "[97]", ""),
            taken("a", "\"0\"", "[97]", ""),
            taken("a", "null", "[97]", ""),
            taken("b", "-1", "[97]", ""),
            taken("a", "-1", "[256]", ""),
            taken("a", "-1", "null", ""),
            taken(&"a".repeat(257), "-1", &long, ""),
            taken("a", "-1", "[97]", &falling),
            taken("a", "-1", "[97]", &many),
            taken("a", "-1", "[97]", "{}"),
            r#"{"content":null,"refusal":null}"#.to_owned(),
            r#"{"content":[],"refusal":"no"}"#.to_owned(),
            r#"{"content":[],"more":1}"#.to_owned(),
        ] {
            assert_eq!(check(&bad), None, "{bad}");
        }
        let twice = taken("a", "-0.5", "[97]", "").replace("[{", "[{},{");
        assert_eq!(check(&twice), None);
    }

    #[test]
    fn tells_what_was_asked_for_and_nothing_else() {
        let told = |count| {
            Some(Probabilities {
                alternatives: count,
            })
        };
        assert!(Probabilities::answer(None, None, true));
        assert!(Probabilities::answer(None, Some(3), false));
        assert!(Probabilities::answer(told(Some(3)), Some(3), true));
        assert!(Probabilities::answer(told(None), Some(3), true));
        assert!(!Probabilities::answer(told(Some(0)), None, true));
        assert!(!Probabilities::answer(None, Some(3), true), "kept back");
        assert!(!Probabilities::answer(told(Some(4)), Some(3), true));
        assert!(!Probabilities::answer(told(Some(3)), Some(3), false));
    }
}
