//! How the hidden states of a text become its vector.
//!
//! Vectors are of length one, as OpenAI's are and as llama.cpp's server gives them. Sums are of
//! doubles in the order of positions, so the bits depend on the text alone.

#[cfg(test)]
use crate::refusal::ModelError;

/// The key behind the family's name in a GGUF file, with llama.cpp's numbers
/// (`enum llama_pooling_type`).
pub(super) const POOLING: &str = "pooling_type";

/// Which hidden states a vector is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pooling {
    /// The mean of all.
    Mean,
    /// That of the first position.
    First,
    /// That of the last position.
    Last,
}

impl Pooling {
    /// By llama.cpp's number: none for its "none".
    pub(super) const fn numbered(number: usize) -> Result<Option<Self>, UnknownPooling> {
        match number {
            0 => Ok(None),
            1 => Ok(Some(Self::Mean)),
            2 => Ok(Some(Self::First)),
            3 => Ok(Some(Self::Last)),
            _ => Err(UnknownPooling),
        }
    }

    /// Whether the hidden state of this position of so many counts.
    pub(crate) const fn takes(self, position: usize, positions: usize) -> bool {
        match self {
            Self::Mean => true,
            Self::First => position == 0,
            Self::Last => position.saturating_add(1) == positions,
        }
    }
}

/// A pooling that is not computed here, such as a judge's of pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UnknownPooling;

/// Reads the `config.json` of the pooling module of sentence-transformers.
///
/// # Errors
/// `Config` with the member for a pooling that is not computed, or several at once.
#[cfg(test)]
pub(crate) fn from_module(text: &[u8]) -> Result<Pooling, ModelError> {
    let refused = |member| ModelError::Config { member };
    let members: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(text).map_err(|_| refused("form"))?;
    let on = |name: &str| members.get(name) == Some(&serde_json::Value::Bool(true));
    let known = [
        ("pooling_mode_mean_tokens", Pooling::Mean),
        ("pooling_mode_cls_token", Pooling::First),
        ("pooling_mode_lasttoken", Pooling::Last),
    ];
    let modes = members.keys().filter(|name| on(name));
    let asked = modes.filter(|name| name.starts_with("pooling_mode_"));
    let mut found = known.into_iter().filter(|(name, _)| on(name));
    match (asked.count(), found.next()) {
        (1, Some((_, pooling))) => Ok(pooling),
        (_, _) => Err(refused("pooling_mode")),
    }
}

/// A vector under way: wiped when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Pooled {
    sums: zeroize::Zeroizing<Vec<f64>>,
}

/// A vector with an element that is not a number, or without a length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotFinite;

#[allow(clippy::arithmetic_side_effects, reason = "float arithmetic only")]
impl Pooled {
    /// Adds a hidden state.
    pub(crate) fn add(&mut self, hidden: &[f32]) {
        if self.sums.is_empty() {
            self.sums
                .extend(hidden.iter().map(|value| f64::from(*value)));
            return;
        }
        for (sum, value) in self.sums.iter_mut().zip(hidden) {
            *sum += f64::from(*value);
        }
    }

    /// The vector of length one in their direction: float32, little-endian. How many were added
    /// does not matter: a mean points where a sum does.
    ///
    /// # Errors
    /// `NotFinite`.
    pub(crate) fn vector(&self) -> Result<Vec<u8>, NotFinite> {
        let square = self.sums.iter().fold(0.0, |sum, value| sum + value * value);
        let length = f64::sqrt(square);
        if !length.is_finite() || length == 0.0 {
            return Err(NotFinite);
        }
        let mut bytes = Vec::with_capacity(self.sums.len().saturating_mul(size_of::<f32>()));
        for value in self.sums.iter() {
            bytes.extend_from_slice(&narrow(value / length).to_le_bytes());
        }
        Ok(bytes)
    }
}

/// The nearest float.
#[allow(
    clippy::cast_possible_truncation,
    reason = "elements of a vector of length one: rounding to float is what is meant"
)]
const fn narrow(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "tests state claims; a panic is the failure"
    )]
    use super::*;

    #[test]
    fn a_vector_has_length_one_and_the_direction_of_the_mean() {
        let mut pooled = Pooled::default();
        pooled.add(&[1.0, 5.0]);
        pooled.add(&[5.0, 3.0]);
        let bytes = pooled.vector().unwrap();
        let (elements, _) = bytes.as_chunks::<4>();
        let elements: Vec<f32> = elements.iter().map(|e| f32::from_le_bytes(*e)).collect();
        assert_eq!(elements, [0.6, 0.8]);
    }

    #[test]
    fn no_vector_comes_of_nothing_or_of_what_is_no_number() {
        let of = |hidden: &[f32]| {
            let mut pooled = Pooled::default();
            pooled.add(hidden);
            pooled.vector()
        };
        for hidden in [&[][..], &[0.0, 0.0], &[f32::NAN, 1.0], &[f32::INFINITY]] {
            assert_eq!(of(hidden), Err(NotFinite));
        }
        assert!(of(&[f32::MAX, f32::MAX]).is_ok());
    }

    #[test]
    fn a_module_that_pools_in_another_way_or_in_two_is_refused() {
        let of = |text: &str| from_module(text.as_bytes()).map_err(|refused| refused.code());
        let last = r#"{"word_embedding_dimension": 64, "pooling_mode_lasttoken": true,
            "pooling_mode_mean_tokens": false, "include_prompt": true}"#;
        assert_eq!(of(last), Ok(Pooling::Last));
        for text in [
            "[]",
            "{}",
            r#"{"pooling_mode_max_tokens": true}"#,
            r#"{"pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": true}"#,
            r#"{"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true}"#,
        ] {
            assert_eq!(of(text), Err("model-config"), "{text}");
        }
    }
}
