//! RSA-4096 keys from the public seed in milliseconds.
//!
//! AMD's authorities have 4096-bit keys and the verifier accepts nothing else. To search such
//! primes takes seconds, so the distance from the seed's number to the first prime behind it
//! stands here. A test searches again and compares.

use rsa::rand_core::RngCore as _;
use rsa::{BigUint, RsaPrivateKey};

use crate::MockTeeError;
use crate::seed::{Made, SeedStream};

/// Bytes of one prime.
const PRIME_BYTES: usize = 256;
/// The public exponent of AMD's authorities.
const EXPONENT: u32 = 65_537;

/// A key by its label and the distances of its two primes, counted in odd numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DerivedRsa {
    label: &'static str,
    distances: [u32; 2],
}

/// The simulated root's key.
pub(crate) const ARK: DerivedRsa = DerivedRsa {
    label: "amd ark",
    distances: [1173, 389],
};

/// The simulated intermediate's key.
pub(crate) const ASK: DerivedRsa = DerivedRsa {
    label: "amd ask",
    distances: [1851, 173],
};

static KEYS: Made<RsaPrivateKey> = Made::new();

impl DerivedRsa {
    pub(crate) fn key(self) -> Result<RsaPrivateKey, MockTeeError> {
        KEYS.from(&[self.label.as_bytes()], || self.derive())
    }

    fn derive(self) -> Result<RsaPrivateKey, MockTeeError> {
        let [p, q] = [0, 1].map(|number| self.base(number));
        let [p_distance, q_distance] = self.distances;
        #[allow(
            clippy::arithmetic_side_effects,
            reason = "big integers of a test program: they grow and cannot overflow"
        )]
        let step = |base: BigUint, distance: u32| base + BigUint::from(distance) * 2u32;
        RsaPrivateKey::from_p_q(step(p, p_distance), step(q, q_distance), EXPONENT.into())
            .map_err(|_| MockTeeError::Key)
    }

    /// An odd number of 2048 bits with its two highest bits set, so that a product has 4096.
    fn base(self, number: u8) -> BigUint {
        let mut bytes = [0; PRIME_BYTES];
        SeedStream::new(self.label, &[number]).fill_bytes(&mut bytes);
        if let Some(first) = bytes.first_mut() {
            *first |= 0xc0;
        }
        if let Some(last) = bytes.last_mut() {
            *last |= 1;
        }
        BigUint::from_bytes_be(&bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::arithmetic_side_effects,
        reason = "tests state claims; a panic is the failure"
    )]
    use super::*;
    use num_bigint_dig::prime::probably_prime;
    use rsa::traits::PublicKeyParts as _;

    /// Distance to the first prime p behind the base for which p - 1 has no factor 65537.
    fn search(key: DerivedRsa, number: u8) -> u32 {
        let mut candidate = key.base(number);
        for distance in 0.. {
            let fits = (&candidate - 1u32) % EXPONENT != BigUint::from(0u32);
            // The first bases find nearly every composite, so that 20 rounds are rare.
            if fits && probably_prime(&candidate, 1) && probably_prime(&candidate, 20) {
                return distance;
            }
            candidate += 2u32;
        }
        unreachable!("primes do not end")
    }

    #[test]
    fn the_written_distances_lead_to_the_first_primes() {
        for key in [ARK, ASK] {
            let found = [search(key, 0), search(key, 1)];
            assert_eq!(found, key.distances, "{}", key.label);
        }
    }

    #[test]
    fn keys_have_the_size_of_amds() {
        for key in [ARK, ASK] {
            assert_eq!(key.key().unwrap().size(), 512, "{}", key.label);
        }
    }
}
