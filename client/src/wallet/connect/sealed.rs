//! The box around every message of a session: X25519, XSalsa20, Poly1305, as NaCl's `crypto_box`.
//!
//! A sealed message is a nonce of 24 bytes and the box. Not here: who may be believed, and what is
//! inside. Randomness is an argument.

use core::fmt;
use core::str::FromStr;

use crypto_box::aead::generic_array::GenericArray;
use crypto_box::aead::{Aead as _, AeadInPlace as _};
use crypto_box::{PublicKey, SalsaBox, SecretKey};
use protocol::digest::{HexError, parse_hex};
use zeroize::Zeroizing;

/// Bytes of a nonce: each is drawn, none is used twice.
pub const NONCE_BYTES: usize = 24;

/// One end of a session: its public key, which is also its address at the bridge.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ClientId(pub [u8; 32]);

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ClientId {
    type Err = HexError;

    fn from_str(text: &str) -> Result<Self, HexError> {
        parse_hex(text).map(Self)
    }
}

/// A message could not be sealed, or is not one that the other end sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message is not one that the other end sealed")]
pub struct SealError;

/// The secret key of one end; it is wiped when it is dropped.
pub struct SessionKey(SecretKey);

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SessionKey").field(&self.id()).finish()
    }
}

impl SessionKey {
    /// The key of 32 random bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(SecretKey::from_bytes(*bytes))
    }

    /// This end.
    #[must_use]
    pub fn id(&self) -> ClientId {
        ClientId(self.0.public_key().to_bytes())
    }

    /// Seals a message for the other end, under a nonce that was never used before.
    ///
    /// # Errors
    /// `SealError` for a message beyond the cipher's range.
    pub fn seal(
        &self,
        to: &ClientId,
        nonce: &[u8; NONCE_BYTES],
        message: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        let shared = SalsaBox::new(&PublicKey::from_bytes(to.0), &self.0);
        let mut sealed = nonce.to_vec();
        let inside = shared.encrypt(GenericArray::from_slice(nonce), message);
        sealed.extend_from_slice(&inside.map_err(|_| SealError)?);
        Ok(sealed)
    }

    /// Opens a message of the other end.
    ///
    /// # Errors
    /// `SealError` for anything that the other end did not seal for this one.
    pub fn open(&self, from: &ClientId, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (nonce, inside) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(SealError)?;
        let shared = SalsaBox::new(&PublicKey::from_bytes(from.0), &self.0);
        let mut message = Zeroizing::new(inside.to_vec());
        shared
            .decrypt_in_place(GenericArray::from_slice(nonce), b"", &mut *message)
            .map_err(|_| SealError)?;
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        parse_hex(hex).unwrap()
    }

    /// Alice and Bob of "Cryptography in NaCl" (Bernstein, 2009), sections 2 and 10, whose key
    /// exchange is also RFC 7748, section 6.1.
    const ALICE: &str = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a";
    const BOB: &str = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb";
    const ALICE_PUBLIC: &str = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a";
    const BOB_PUBLIC: &str = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f";
    const NONCE: &str = "69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37";
    const MESSAGE: &str = "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffc\
        e5ecbaaf33bd751a1ac728d45e6c61296cdc3c01233561f41db66cce314adb31\
        0e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde\
        048977eb48f59ffd4924ca1c60902e52f0a089bc76897040e082f93776384864\
        5e0705";
    const BOXED: &str = "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce\
        48332ea7164d96a4476fb8c531a1186ac0dfc17c98dce87b4da7f011ec48c972\
        71d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae\
        90224368517acfeabd6bb3732bc0e9da99832b61ca01b6de56244a9e88d5f9b3\
        7973f622a43d14a6599b1f654cb45a74e355a5";

    fn keys() -> (SessionKey, SessionKey) {
        let key = |hex| SessionKey::from_bytes(&bytes(hex));
        (key(ALICE), key(BOB))
    }

    #[test]
    fn the_box_is_nacl_s() {
        let (alice, bob) = keys();
        assert_eq!(alice.id().to_string(), ALICE_PUBLIC);
        assert_eq!(bob.id().to_string(), BOB_PUBLIC);
        let (message, nonce) = (bytes::<131>(MESSAGE), bytes(NONCE));
        let sealed = alice.seal(&bob.id(), &nonce, &message).unwrap();
        assert_eq!(sealed[..NONCE_BYTES], nonce);
        assert_eq!(sealed[NONCE_BYTES..], bytes::<147>(BOXED));
        let opened = bob.open(&alice.id(), &sealed).unwrap();
        assert_eq!(opened.as_slice(), message);
    }

    #[test]
    fn each_changed_byte_another_sender_and_each_cut_are_refused() {
        let (alice, bob) = keys();
        let sealed = alice.seal(&bob.id(), &[1; 24], b"text").unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(bob.open(&alice.id(), &changed).is_err(), "byte {at}");
            assert!(bob.open(&alice.id(), &sealed[..at]).is_err(), "cut {at}");
        }
        let other = SessionKey::from_bytes(&[9; 32]);
        assert!(bob.open(&other.id(), &sealed).is_err());
        assert!(other.open(&alice.id(), &sealed).is_err());
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", keys().0);
        assert!(!shown.contains("77076d0a"), "{shown}");
    }
}
