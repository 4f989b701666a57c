//! The two keys of a boot: the TLS key and the key that signs receipts.
//!
//! Made from the kernel's randomness at start, never stored, never printed, never cloned; every
//! buffer that held a seed is wiped. What is attested of them is public and fixed by init at
//! registration. Nothing here signs anything but a receipt or a TLS handshake.

use std::sync::Arc;

use ed25519_dalek::SigningKey;
use protocol::digest::{ReceiptKey, SpkiDigest};
use protocol::receipt::{Receipt, SignedReceipt};
use rustls::crypto::aws_lc_rs::sign::any_eddsa_type;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize as _, Zeroizing};

/// RFC 8410 §7: PKCS#8 v1 of an Ed25519 key up to its 32-byte seed.
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// Why keys could not be made; the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The kernel gave no randomness.
    #[error("cannot draw randomness")]
    Randomness,
    /// The TLS library did not take the key.
    #[error("the TLS library does not take the key")]
    Provider,
}

/// The key of the TLS handshake, held by the TLS library, with its public half.
pub(crate) struct TlsKey {
    certified: Arc<CertifiedKey>,
    spki: SpkiDigest,
}

impl TlsKey {
    /// Draws a key.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub(crate) fn draw() -> Result<Self, KeyError> {
        let mut der = Zeroizing::new([0; 48]);
        {
            let (prefix, seed) = der.split_at_mut(PKCS8_PREFIX.len());
            prefix.copy_from_slice(&PKCS8_PREFIX);
            sys::entropy::fill(seed).map_err(|_| KeyError::Randomness)?;
        }
        let borrowed = PrivatePkcs8KeyDer::from(der.as_slice());
        let key = any_eddsa_type(&borrowed).map_err(|_| KeyError::Provider)?;
        let public = key.public_key().ok_or(KeyError::Provider)?;
        let spki = SpkiDigest(Sha256::digest(&public).into());
        let certificate = CertificateDer::from(public.to_vec());
        Ok(Self {
            certified: Arc::new(CertifiedKey::new(vec![certificate], key)),
            spki,
        })
    }

    /// SHA-256 of the SubjectPublicKeyInfo, as attested.
    #[must_use]
    pub(crate) const fn spki_digest(&self) -> SpkiDigest {
        self.spki
    }

    /// The key as the TLS library takes it (RFC 7250: the certificate is the bare public key).
    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }
}

/// The key that signs receipts.
pub(crate) struct ReceiptSigner(SigningKey);

impl ReceiptSigner {
    /// Draws a key.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub(crate) fn draw() -> Result<Self, KeyError> {
        let mut seed = [0; 32];
        let drawn = sys::entropy::fill(&mut seed).map_err(|_| KeyError::Randomness);
        let key = SigningKey::from_bytes(&seed);
        seed.zeroize();
        drawn.map(|()| Self(key))
    }

    /// The public half, as attested.
    #[must_use]
    pub(crate) fn public(&self) -> ReceiptKey {
        ReceiptKey(self.0.verifying_key().to_bytes())
    }

    /// Signs one receipt.
    #[must_use]
    pub(crate) fn sign(&self, receipt: Receipt) -> SignedReceipt {
        receipt.sign(&self.0)
    }
}

/// Bytes from the kernel's randomness, for ids and seeds that are of no use to anybody else.
///
/// # Errors
/// `Randomness` when the kernel gives none.
pub(crate) fn draw<const N: usize>() -> Result<[u8; N], KeyError> {
    let mut bytes = [0; N];
    sys::entropy::fill(&mut bytes).map_err(|_| KeyError::Randomness)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "tests state claims; a panic is the failure"
    )]
    use super::*;

    #[test]
    fn two_boots_share_no_key() {
        let (one, other) = (TlsKey::draw().unwrap(), TlsKey::draw().unwrap());
        assert_ne!(one.spki_digest(), other.spki_digest());
        let (one, other) = (
            ReceiptSigner::draw().unwrap(),
            ReceiptSigner::draw().unwrap(),
        );
        assert_ne!(one.public(), other.public());
    }

    #[test]
    fn the_attested_digest_is_that_of_an_ed25519_subject_public_key_info() {
        let key = TlsKey::draw().unwrap();
        let certified = key.certified();
        let spki = certified.end_entity_cert().unwrap();
        // RFC 8410 §4: 12 bytes of header, then the 32-byte point.
        assert_eq!(spki.len(), 44);
        assert_eq!(key.spki_digest().0, <[u8; 32]>::from(Sha256::digest(spki)));
    }
}
