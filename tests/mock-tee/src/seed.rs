//! Keys from a public text: whoever reads this file holds them all.
//!
//! That is the point. A key that anybody can derive is not a secret, and nothing that it signs
//! can be mistaken for a vendor's word by a program with production anchors.

use std::collections::BTreeMap;
use std::sync::Mutex;

use p384::ecdsa::SigningKey;
use rsa::rand_core::{CryptoRng, Error, RngCore, impls};
use sha2::{Digest as _, Sha512};

use crate::MockTeeError;

/// The text from which every key of the simulation is derived.
pub const PUBLIC_SEED: &str = "cocoon research keys v1: public, worthless, for simulation only";

/// A reproducible stream of bytes: SHA-512(seed, label, counter) for counter = 0, 1, …
#[derive(Debug)]
pub(crate) struct SeedStream {
    prefix: Sha512,
    counter: u64,
    block: Vec<u8>,
}

impl SeedStream {
    pub(crate) fn new(label: &str, salt: &[u8]) -> Self {
        let separated = [PUBLIC_SEED, "\0", label, "\0"].concat();
        Self {
            prefix: Sha512::new().chain_update(separated).chain_update(salt),
            counter: 0,
            block: Vec::new(),
        }
    }

    /// The first `N` bytes of a label's stream.
    pub(crate) fn bytes<const N: usize>(label: &str) -> [u8; N] {
        let mut bytes = [0; N];
        Self::new(label, &[]).fill_bytes(&mut bytes);
        bytes
    }

    fn next_byte(&mut self) -> u8 {
        if self.block.is_empty() {
            let counter = self.counter.to_le_bytes();
            let hash = self.prefix.clone().chain_update(counter).finalize();
            self.block = hash.into_iter().rev().collect();
            self.counter = self.counter.saturating_add(1);
        }
        self.block.pop().unwrap_or_default()
    }
}

impl RngCore for SeedStream {
    fn next_u32(&mut self) -> u32 {
        impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.next_byte();
        }
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

/// The signature crates ask for this mark; the stream is reproducible, not secret.
impl CryptoRng for SeedStream {}

/// What the simulation made, by what it was made from: keys and signatures follow from their
/// inputs, and one machine is asked for the same ones over and over.
#[derive(Debug)]
pub(crate) struct Made<T>(Mutex<BTreeMap<[u8; 64], T>>);

impl<T: Clone> Made<T> {
    /// Beyond this all are forgotten: a program that simulates for days does not grow.
    const MOST: usize = 4096;

    pub(crate) const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// The one that was made from `parts`, or a new one.
    pub(crate) fn from<E>(
        &self,
        parts: &[&[u8]],
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let mut hash = Sha512::new();
        for part in parts {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        let name = hash.finalize().into();
        let known = self.0.lock().ok().and_then(|made| made.get(&name).cloned());
        if let Some(known) = known {
            return Ok(known);
        }
        let new = make()?;
        if let Ok(mut made) = self.0.lock() {
            if made.len() >= Self::MOST {
                made.clear();
            }
            made.insert(name, new.clone());
        }
        Ok(new)
    }
}

static P384_KEYS: Made<SigningKey> = Made::new();

/// The P-384 key of a label.
pub(crate) fn p384_key(label: &str) -> Result<SigningKey, MockTeeError> {
    P384_KEYS.from(&[label.as_bytes()], || {
        SigningKey::from_slice(&SeedStream::bytes::<48>(label)).map_err(|_| MockTeeError::Key)
    })
}

/// The P-256 key of a label.
pub(crate) fn p256_key(label: &str) -> Result<p256::ecdsa::SigningKey, MockTeeError> {
    p256::ecdsa::SigningKey::from_slice(&SeedStream::bytes::<32>(label))
        .map_err(|_| MockTeeError::Key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_and_differ_by_label() {
        assert_eq!(SeedStream::bytes::<70>("a"), SeedStream::bytes::<70>("a"));
        assert_ne!(SeedStream::bytes::<70>("a"), SeedStream::bytes::<70>("b"));
        assert_eq!(
            SeedStream::bytes::<70>("a")[..9],
            SeedStream::bytes::<9>("a")
        );
    }
}
