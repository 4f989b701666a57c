//! Randomness from the kernel, and whether the processor gave it a seed.
//!
//! The host can starve a guest of interrupts and devices, but not of RDRAND: no key may be made
//! before it is known to work. The kernel's own check of that is tied to the platform, so it is
//! repeated here.

use crate::{CallFailed, Result};

/// How often RDRAND may come back empty, as the vendor's guide says, before it counts as broken.
const ATTEMPTS: usize = 10;

/// Words that are compared with each other.
const WORDS: usize = 4;

/// Why the processor is no source of randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntropyError {
    /// The processor has no RDRAND.
    #[error("processor has no random number generator")]
    Missing,
    /// RDRAND gave nothing in several attempts.
    #[error("processor's random number generator is empty")]
    Empty,
    /// RDRAND repeats itself.
    #[error("processor's random number generator repeats itself")]
    Stuck,
}

/// Checks that the processor's generator is there, answers and does not repeat itself.
///
/// # Errors
/// An [`EntropyError`]; no key may be made then.
pub fn check_processor() -> std::result::Result<(), EntropyError> {
    if !std::arch::is_x86_feature_detected!("rdrand") {
        return Err(EntropyError::Missing);
    }
    let mut words = Vec::with_capacity(WORDS);
    for _ in 0..WORDS {
        // SAFETY: the processor has the feature that `word` needs, as was just looked up.
        let attempt = || unsafe { word() };
        let word = std::iter::repeat_with(attempt)
            .take(ATTEMPTS)
            .flatten()
            .next();
        words.push(word.ok_or(EntropyError::Empty)?);
    }
    judge(&words)
}

/// Refuses words among which two neighbours are equal.
fn judge(words: &[u64]) -> std::result::Result<(), EntropyError> {
    let stuck = words
        .iter()
        .zip(words.iter().skip(1))
        .any(|(one, next)| one == next);
    if stuck {
        return Err(EntropyError::Stuck);
    }
    Ok(())
}

#[target_feature(enable = "rdrand")]
fn word() -> Option<u64> {
    let mut word = 0;
    (core::arch::x86_64::_rdrand64_step(&mut word) == 1).then_some(word)
}

/// `N` bytes from the kernel's generator, once it is seeded.
///
/// # Errors
/// That of the call.
pub fn draw<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}

/// Fills `bytes` from the kernel's generator, once it is seeded. There is no other source: a
/// confined program can open no device.
///
/// # Errors
/// That of the call; `bytes` is not to be used then.
pub fn fill(bytes: &mut [u8]) -> Result<()> {
    let mut drawn = 0_usize;
    while let Some(rest) = bytes.get_mut(drawn..).filter(|rest| !rest.is_empty()) {
        // SAFETY: the pointer and the length are those of one live, writable slice.
        let more = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(more) {
            Ok(more) => drawn = drawn.saturating_add(more),
            Err(_) => return Err(CallFailed::of("getrandom")(nix::errno::Errno::last())),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ_and_are_not_zero() {
        let (one, two) = (draw::<32>().unwrap(), draw::<32>().unwrap());
        assert_ne!(one, two);
        assert_ne!(one, [0; 32]);
    }

    #[test]
    fn a_generator_that_repeats_itself_is_refused() {
        assert_eq!(judge(&[1, 2, 2, 3]), Err(EntropyError::Stuck));
        assert_eq!(judge(&[1, 2, 1, 2]), Ok(()));
    }
}
