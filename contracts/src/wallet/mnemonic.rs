//! TON's own 24 words: a seed from what wallet programs show their users to write down.
//!
//! HMAC-SHA-512 of the words gives the entropy, PBKDF2 with 100,000 rounds the seed; of another 390
//! rounds the first byte must be 0, by which a mistyped word is seen 255 times of 256 (TON's
//! `Mnemonic.cpp`; held against `@ton/crypto` by a vector). Deliberately not here: making words,
//! passwords, and the words of other coins (BIP 39), which have the same list and another rule.

use pbkdf2::hmac::{Hmac, KeyInit as _, Mac as _};
use pbkdf2::sha2::Sha512;
use zeroize::Zeroizing;

/// Words that wallet programs make.
pub const WORDS: usize = 24;
/// A text of words is shorter.
pub const MAX_BYTES: usize = 512;

const ROUNDS: u32 = 100_000;
const VERSION_ROUNDS: u32 = ROUNDS / 256;

/// A text that is no mnemonic; it says nothing of the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MnemonicError {
    /// Not so many words of lower-case letters.
    #[error("not {WORDS} words of letters")]
    Form,
    /// A word is not the one that was written down, or the words belong to a password or to BIP 39.
    #[error("these words are no TON wallet's: one is mistyped, or they need a password")]
    Checksum,
}

/// The seed of a wallet's key.
///
/// # Errors
/// [`MnemonicError`].
pub fn seed(text: &str) -> Result<Zeroizing<[u8; 32]>, MnemonicError> {
    if text.len() > MAX_BYTES {
        return Err(MnemonicError::Form);
    }
    let lower = Zeroizing::new(text.to_ascii_lowercase());
    let words: Vec<&str> = lower.split_ascii_whitespace().collect();
    let letters = |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase());
    if words.len() != WORDS || !words.iter().all(letters) {
        return Err(MnemonicError::Form);
    }
    let phrase = Zeroizing::new(words.join(" "));
    let entropy =
        Hmac::<Sha512>::new_from_slice(phrase.as_bytes()).map_err(|_| MnemonicError::Form)?;
    let entropy = Zeroizing::new(<[u8; 64]>::from(entropy.finalize().into_bytes()));
    let version = stretched(&entropy, b"TON seed version", VERSION_ROUNDS);
    if version.first() != Some(&0) {
        return Err(MnemonicError::Checksum);
    }
    let whole = stretched(&entropy, b"TON default seed", ROUNDS);
    let (seed, _) = whole.split_first_chunk().ok_or(MnemonicError::Form)?;
    Ok(Zeroizing::new(*seed))
}

fn stretched(entropy: &[u8; 64], salt: &[u8], rounds: u32) -> Zeroizing<[u8; 64]> {
    let mut out = Zeroizing::new([0; 64]);
    pbkdf2::pbkdf2_hmac::<Sha512>(entropy, salt, rounds, out.as_mut_slice());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Vector {
        mnemonic: String,
        mnemonic_seed: String,
    }

    /// Made with @ton/crypto: tests/fixtures/wallet.
    fn vector() -> Vector {
        let text = include_str!("../../../tests/fixtures/wallet/vector.json");
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_seed_is_that_of_another_implementation_however_the_words_are_spaced() {
        let Vector {
            mnemonic,
            mnemonic_seed,
        } = vector();
        let expected: [u8; 32] = protocol::digest::parse_hex(&mnemonic_seed).unwrap();
        let spaced = format!("  {}\n", mnemonic.replace(' ', "\n\t").to_uppercase());
        assert_eq!(*seed(&mnemonic).unwrap(), expected);
        assert_eq!(*seed(&spaced).unwrap(), expected);
    }

    #[test]
    fn words_that_are_not_those_are_refused() {
        let good = vector().mnemonic;
        let words: Vec<&str> = good.split(' ').collect();
        let one_less = words[1..].join(" ");
        let one_more = format!("{good} ring");
        for form in ["", &one_less, &one_more, &good.replace("ring", "r1ng")] {
            assert_eq!(seed(form), Err(MnemonicError::Form));
        }
        assert_eq!(seed(&"a ".repeat(256)), Err(MnemonicError::Form));
        assert_eq!(
            seed(&good.replace("ring", "rings")),
            Err(MnemonicError::Checksum)
        );
        let mut turned = words;
        turned.swap(3, 4);
        assert_eq!(seed(&turned.join(" ")), Err(MnemonicError::Checksum));
    }
}
