//! How the hidden states of a text become its vector.
//!
//! Vectors are of length one, as OpenAI's are and as llama.cpp's server gives them. Sums are of
//! doubles in the order of positions, so the bits depend on the text alone.

use model_format::sentence::Mode;

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

    /// As sentence-transformers calls it.
    pub(crate) const fn described(mode: Mode) -> Self {
        match mode {
            Mode::Mean => Self::Mean,
            Mode::First => Self::First,
            Mode::Last => Self::Last,
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
}
