//! ADNL over TCP: the encrypted stream between a client and a server whose key it knows.
//!
//! The client sends 256 bytes: which key it means (a hash), a key of its own for this connection,
//! and 160 random bytes, encrypted for both, from which the two directions' AES-256-CTR keys are
//! taken. From then on both send frames: length, 32 bytes of noise, content, SHA-256 of noise and
//! content. Nobody but the holder of the server's key can answer; the client stays anonymous.
//! What is said is worth what its proofs are worth (`proof`), so this guards against a network in
//! between, not against the server. Layout: the handshake and packets of ADNL-TCP as
//! `adnl-ext-client` of ton-blockchain/ton speaks them.

use aes::Aes256;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit as _, StreamCipher as _};
use ed25519_dalek::{SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};

type Stream = Ctr128BE<Aes256>;

/// `pub.ed25519`, whose hash with the key after it names a server.
const NAMED_KEY: u32 = 0x4813_b4c6;
/// Noise before a frame's content, and the hash after it.
const NOISE: usize = 32;
const HASH: usize = 32;
/// Bytes of a frame besides its length and its content.
const OVERHEAD: usize = NOISE + HASH;
/// The content of a frame is at most this long: an account with its proofs, each within
/// [`crate::proof::MAX_BAG_BYTES`], and what is around them.
pub(super) const MAX_CONTENT: usize = 3 * crate::proof::MAX_BAG_BYTES + 1024;
/// The greeting.
pub(super) const HELLO: usize = 256;
/// What is encrypted in it: two keys, two counters, and 64 bytes that mean nothing.
pub(super) const SESSION: usize = 160;

/// Why the stream is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AdnlError {
    /// The server's key is none.
    #[error("server key is no Ed25519 key")]
    ServerKey,
    /// A frame shorter than any, or longer than any valid one.
    #[error("frame of {length} bytes")]
    FrameLength {
        /// As it says.
        length: u32,
    },
    /// The hash is not that of the content: damaged, or sent by somebody without the key.
    #[error("frame is damaged")]
    Damaged,
}

/// Bytes that nobody can foresee, drawn out of one seed for a whole connection.
pub(super) struct Noise {
    seed: [u8; 32],
    drawn: u64,
}

impl Noise {
    pub(super) const fn new(seed: [u8; 32]) -> Self {
        Self { seed, drawn: 0 }
    }

    pub(super) fn draw(&mut self) -> [u8; 32] {
        self.drawn = self.drawn.wrapping_add(1);
        let noise = Sha256::new_with_prefix(self.seed);
        let noise = noise.chain_update(self.drawn.to_le_bytes());
        noise.finalize().into()
    }

    /// A session's keys and counters.
    pub(super) fn session(&mut self) -> [u8; SESSION] {
        let mut session = [0; SESSION];
        for place in session.chunks_mut(32) {
            place.copy_from_slice(&self.draw());
        }
        session
    }
}

/// What is sent, encrypted.
pub(super) struct Sender(Stream);

/// What is received, decrypted.
pub(super) struct Receiver(Stream);

/// The greeting for a server, and the two directions of the connection that it opens. Both secrets
/// are random, and of this connection alone: a key, and the session's keys and counters.
pub(super) fn greet(
    server: &[u8; 32],
    own: &[u8; 32],
    session: &[u8; SESSION],
) -> Result<([u8; HELLO], Sender, Receiver), AdnlError> {
    let own = SigningKey::from_bytes(own);
    let named = VerifyingKey::from_bytes(server).map_err(|_| AdnlError::ServerKey)?;
    // With a key of small order the secret would be known to everybody.
    if named.is_weak() {
        return Err(AdnlError::ServerKey);
    }
    let shared = named.to_montgomery().mul_clamped(own.to_scalar_bytes());
    let shared = shared.to_bytes();
    let checksum: [u8; 32] = Sha256::digest(session).into();
    let mut encrypted = *session;
    between(&shared, &checksum).apply_keystream(&mut encrypted);
    let mut hello = [0; HELLO];
    let (name, key) = (name_of(server), own.verifying_key().to_bytes());
    fill(&mut hello, &[&name, &key, &checksum, &encrypted]);
    let (receiving, rest) = split(session);
    let (sending, rest) = split(rest);
    let (counter_in, rest) = split(rest);
    let (counter_out, _) = split(rest);
    Ok((
        hello,
        Sender(stream(&sending, &counter_out)),
        Receiver(stream(&receiving, &counter_in)),
    ))
}

/// The cipher of the greeting: the first half of the secret and the second of the sum are its key,
/// four bytes of the sum and twelve of the secret its counter.
fn between(shared: &[u8; 32], checksum: &[u8; 32]) -> Stream {
    let (secret_head, rest) = split::<16>(shared);
    let (_, secret_tail) = split::<4>(rest);
    let (_, sum_tail) = split::<16>(checksum);
    let (sum_head, _) = split::<4>(checksum);
    let mut key = [0; 32];
    fill(&mut key, &[&secret_head, sum_tail]);
    let mut counter = [0; 16];
    fill(&mut counter, &[&sum_head, secret_tail]);
    stream(&key, &counter)
}

fn stream(key: &[u8; 32], counter: &[u8; 16]) -> Stream {
    Stream::new(key.into(), counter.into())
}

/// The first `N` bytes and what follows; every caller has more than that.
fn split<const N: usize>(bytes: &[u8]) -> ([u8; N], &[u8]) {
    let (head, tail) = bytes.split_at(N.min(bytes.len()));
    let mut first = [0; N];
    fill(&mut first, &[head]);
    (first, tail)
}

fn fill(to: &mut [u8], parts: &[&[u8]]) {
    let all = parts.iter().copied().flatten();
    to.iter_mut().zip(all).for_each(|(to, from)| *to = *from);
}

fn name_of(key: &[u8; 32]) -> [u8; 32] {
    let named = Sha256::new_with_prefix(NAMED_KEY.to_le_bytes());
    named.chain_update(key).finalize().into()
}

impl Sender {
    /// A frame with this content, which is at most [`MAX_CONTENT`] long.
    pub(super) fn frame(
        &mut self,
        content: &[u8],
        noise: [u8; NOISE],
    ) -> Result<Vec<u8>, AdnlError> {
        let length = content.len().saturating_add(OVERHEAD);
        let announced = u32::try_from(length).unwrap_or(u32::MAX);
        if content.len() > MAX_CONTENT {
            return Err(AdnlError::FrameLength { length: announced });
        }
        let hash = Sha256::new_with_prefix(noise)
            .chain_update(content)
            .finalize();
        let mut frame = announced.to_le_bytes().to_vec();
        frame.extend(noise);
        frame.extend(content);
        frame.extend(hash);
        self.0.apply_keystream(&mut frame);
        Ok(frame)
    }
}

impl Receiver {
    /// How many bytes follow these four.
    pub(super) fn length(&mut self, mut bytes: [u8; 4]) -> Result<usize, AdnlError> {
        self.0.apply_keystream(&mut bytes);
        let length = u32::from_le_bytes(bytes);
        usize::try_from(length)
            .ok()
            .filter(|length| (OVERHEAD..=OVERHEAD.saturating_add(MAX_CONTENT)).contains(length))
            .ok_or(AdnlError::FrameLength { length })
    }

    /// The content of a frame after its length.
    pub(super) fn content(&mut self, mut frame: Vec<u8>) -> Result<Vec<u8>, AdnlError> {
        self.0.apply_keystream(&mut frame);
        let (hashed, hash) = frame.split_last_chunk::<HASH>().ok_or(AdnlError::Damaged)?;
        if Sha256::digest(hashed).as_slice() != hash {
            return Err(AdnlError::Damaged);
        }
        let content = hashed.get(NOISE..).ok_or(AdnlError::Damaged)?;
        Ok(content.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use protocol::digest::parse_hex;

    use super::*;

    /// The inputs of the vector of crate `ton-net-adnl` 0.4.2 (Apache-2.0), `tests/vectors.rs`: the
    /// key of a server of the main network, and secrets by a rule.
    fn of_the_vector() -> ([u8; HELLO], Sender, Receiver) {
        let server =
            parse_hex("9f85439d2094b92a639c2c9493d7b740e39dea8d08b525986d39d6dd69e7f309").unwrap();
        let mut session = [0; SESSION];
        for (at, byte) in (0_u8..).zip(&mut session) {
            *byte = at.wrapping_mul(3).wrapping_add(5);
        }
        greet(&server, &[0x11; 32], &session).unwrap()
    }

    #[test]
    fn the_greeting_is_that_of_another_implementation() {
        let expected: [u8; HELLO] = parse_hex(concat!(
            "5b281b7d9c4559afe95175a529ffd1b6bfb818fb73cf4ac47d7d500d8a25f9dc",
            "d04ab232742bb4ab3a1368bd4615e4e6d0224ab71a016baf8520a332c9778737",
            "85afab363ab509cd0ef3eaf2c68a0087b2469aeadf927ba4378c1e6f372923a0",
            "08439a231a8ea4ff01e166f8f2f862e0eb984d63b468a261f415ff7167efa9d6",
            "08b0cd8bcd466954506df085143e02e4f7a14967eda504a8eec41d8c0cb5dac4",
            "e6a888cecbd76f6c7d2006540cba62aad120191af27378b1317a3e06c42498ea",
            "27d2b44f1041407406da6c73738af0958ec1d4b70710cd7d414824b07d30ba64",
            "7717b3c729e3e9a31b7d51c4069ebea9f12db7c980535cdbfc664251ac6c6ea9",
        ))
        .unwrap();
        assert_eq!(of_the_vector().0, expected);
    }

    #[test]
    fn a_frame_is_that_of_another_implementation() {
        let (_, mut sender, _) = of_the_vector();
        let frame = sender.frame(b"getMasterchainInfo", [0x22; 32]).unwrap();
        let expected: [u8; 86] = parse_hex(concat!(
            "1226b10422a78cec84bb185099587ad191f680319c0d4ac7c84041a9344ca708",
            "944fd72c06279304de013d4e31638ced02f51083bb8e1553ee3fd91eedaee9cb",
            "de5eb5b85168861aeda9114ae1fc6aa4984e556c3e6c",
        ))
        .unwrap();
        assert_eq!(frame, expected);
    }

    #[test]
    fn a_frame_too_short_too_long_or_damaged_is_refused() {
        let read = |length: u32, damage: u8| {
            let (_, _, mut receiver) = of_the_vector();
            let (_, _, Receiver(mut sending)) = of_the_vector();
            let content = b"answer";
            let mut frame = length.to_le_bytes().to_vec();
            frame.extend([9; NOISE]);
            frame.extend(content);
            frame.extend(
                Sha256::new_with_prefix([9; NOISE])
                    .chain_update(content)
                    .finalize(),
            );
            sending.apply_keystream(&mut frame);
            let (head, rest) = frame.split_first_chunk().unwrap();
            receiver.length(*head)?;
            let mut rest = rest.to_vec();
            rest[40] ^= damage;
            receiver.content(rest)
        };
        assert_eq!(read(70, 0).unwrap(), b"answer");
        assert_eq!(read(70, 1), Err(AdnlError::Damaged));
        assert_eq!(read(63, 0), Err(AdnlError::FrameLength { length: 63 }));
        let long = u32::try_from(MAX_CONTENT + OVERHEAD + 1).unwrap();
        assert_eq!(read(long, 0), Err(AdnlError::FrameLength { length: long }));
    }

    #[test]
    fn a_key_that_is_none_or_shares_a_known_secret_is_refused() {
        // No point of the curve, and one of order 4.
        for key in [[2; 32], [0; 32]] {
            let refused = greet(&key, &[0x11; 32], &[0; SESSION]);
            assert_eq!(refused.err(), Some(AdnlError::ServerKey));
        }
    }
}
