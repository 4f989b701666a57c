//! Verification of RSASSA-PSS signatures with SHA-384 (RFC 8017 §8.1.2), in variable time: key,
//! message and signature are public. Reading keys, with every refusal, is RustCrypto's `rsa`, and
//! the arithmetic is its `crypto-bigint`'s. Own is that a public exponent is raised bit by bit, 17
//! multiplications for AMD's 65537 where `rsa` hides it behind 37, and so what surrounds that.

use crypto_bigint::BoxedUint;
use crypto_bigint::modular::BoxedMontyForm;
use rsa::PublicKey;
use rsa::traits::PublicKeyParts as _;
use sha2::{Digest as _, Sha384};

/// Of a SHA-384 digest; the salt is as long.
const DIGEST: usize = 48;

/// Whether the key signed the message.
pub(crate) fn verifies(key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
    // The encoded message is a bit shorter than the modulus.
    let bits = key.n().bit_width_vartime().saturating_sub(1);
    let number = opened(key, signature);
    number.is_some_and(|number| encodes(&number, bits, message) == Some(true))
}

/// RSAVP1 (§5.2.2): the signature to the power of the public exponent.
fn opened(key: &PublicKey, signature: &[u8]) -> Option<BoxedUint> {
    if signature.len() != key.size() {
        return None;
    }
    let number = BoxedUint::from_be_slice(signature, key.n_bits_precision()).ok()?;
    if number >= *key.n().as_ref() {
        return None;
    }
    let base = BoxedMontyForm::new(number, key.n_params());
    let below_the_top = key.e().bit_width_vartime().checked_sub(1)?;
    let mut power = base.clone();
    for place in (0..below_the_top).rev() {
        power = power.square();
        if key.e().bit_vartime(place) {
            power = power.mul(&base);
        }
    }
    Some(power.retrieve())
}

/// EMSA-PSS-VERIFY (§9.1.2), for an encoded message of so many bits.
fn encodes(number: &BoxedUint, bits: u32, message: &[u8]) -> Option<bool> {
    if number.bit_width_vartime() > bits {
        return Some(false);
    }
    let length = usize::try_from(bits.div_ceil(8)).ok()?;
    let unused = bits.wrapping_neg() % 8;
    let bytes = number.to_be_bytes();
    let (_, encoded) = bytes.split_at_checked(bytes.len().checked_sub(length)?)?;
    let (encoded, [0xbc]) = encoded.split_last_chunk()? else {
        return Some(false);
    };
    let (masked, hash) = encoded.split_last_chunk::<DIGEST>()?;
    let mut block: Vec<u8> = masked.iter().zip(mask(hash)).map(|(a, b)| a ^ b).collect();
    *block.first_mut()? &= 0xff_u8.checked_shr(unused)?;
    let (padding, salt) = block.split_last_chunk::<DIGEST>()?;
    let (one, zeros) = padding.split_last()?;
    let expected = Sha384::new()
        .chain_update([0; 8])
        .chain_update(Sha384::digest(message))
        .chain_update(salt)
        .finalize();
    let padded = *one == 1 && zeros.iter().all(|byte| *byte == 0);
    Some(padded && expected.as_slice() == hash)
}

/// MGF1 (§B.2.1): as many bytes as are asked for.
fn mask(seed: &[u8; DIGEST]) -> impl Iterator<Item = u8> {
    (0_u32..).flat_map(move |count| {
        let block: [u8; DIGEST] = Sha384::new()
            .chain_update(seed)
            .chain_update(count.to_be_bytes())
            .finalize()
            .into();
        block
    })
}

#[cfg(test)]
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]
mod tests {
    use rsa::pkcs8::DecodePublicKey as _;
    use rsa::pss::{Signature, VerifyingKey};
    use rsa::signature::Verifier as _;
    use x509_cert::der::{Decode as _, Encode as _};

    use super::*;

    /// AMD's authorities: subject, issuer, both as they are published.
    const ISSUED: [[&[u8]; 2]; 3] = [
        [
            include_bytes!("../../tests/fixtures/snp/authorities/milan-ask.der"),
            include_bytes!("../../tests/fixtures/snp/authorities/milan-ark.der"),
        ],
        [
            include_bytes!("../../tests/fixtures/snp/authorities/genoa-ask.der"),
            include_bytes!("../../tests/fixtures/snp/authorities/genoa-ark.der"),
        ],
        [
            include_bytes!("../../tests/fixtures/snp/authorities/turin-ask.der"),
            include_bytes!("../../tests/fixtures/snp/authorities/turin-ark.der"),
        ],
    ];

    /// An issuer's key, what it signed, the signature.
    fn signed([subject, issuer]: [&[u8]; 2]) -> (PublicKey, Vec<u8>, Vec<u8>) {
        let [subject, issuer] =
            [subject, issuer].map(|der| x509_cert::Certificate::from_der(der).unwrap());
        let key = issuer.tbs_certificate.subject_public_key_info.to_der();
        let signature = subject.signature.as_bytes().unwrap().to_vec();
        let key = PublicKey::from_public_key_der(&key.unwrap()).unwrap();
        (key, subject.tbs_certificate.to_der().unwrap(), signature)
    }

    /// What ours and RustCrypto's say.
    fn verdict(key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
        let ours = verifies(key, message, signature);
        let theirs = VerifyingKey::<rsa::sha2::Sha384>::new(key.clone());
        let theirs = Signature::try_from(signature)
            .is_ok_and(|signature| theirs.verify(message, &signature).is_ok());
        assert_eq!(ours, theirs, "{signature:x?}");
        ours
    }

    #[test]
    fn every_verdict_is_theirs() {
        for chain in ISSUED {
            let (key, message, signature) = signed(chain);
            assert!(verdict(&key, &message, &signature));
            assert!(!verdict(&key, b"another", &signature));
            for place in (0..signature.len()).step_by(61).chain([511]) {
                let mut changed = signature.clone();
                changed[place] ^= 1;
                assert!(!verdict(&key, &message, &changed), "{place}");
                assert!(!verdict(&key, &message, &signature[..place]), "{place}");
            }
            let longer = [&[0], signature.as_slice()].concat();
            assert!(!verdict(&key, &message, &longer));
            // The modulus, what lies beside it, and numbers that are their own powers.
            let modulus = key.n_bytes().to_vec();
            let mut below = modulus.clone();
            below[511] -= 1;
            let one = [vec![0; 511], vec![1]].concat();
            for number in [&modulus, &below, &vec![0; 512], &one, &vec![0xff; 512]] {
                assert!(!verdict(&key, &message, number), "{number:x?}");
            }
            // Only numbers below the modulus, only as long as it is.
            assert!(opened(&key, &below).is_some());
            for other in [&modulus[..], &[0xff; 512], &below[1..], &longer] {
                assert_eq!(opened(&key, other), None);
            }
        }
    }

    #[test]
    fn any_public_exponent_is_raised_as_multiplying_again_and_again_does() {
        let (key, _, signature) = signed(ISSUED[0]);
        let modulus = key.n().as_ref().clone();
        for exponent in [3_u64, 5, 17, 257, 1023, 65_537] {
            let key = PublicKey::new(modulus.clone(), BoxedUint::from(exponent)).unwrap();
            let base = BoxedUint::from_be_slice(&signature, 4096).unwrap();
            let base = BoxedMontyForm::new(base, key.n_params());
            let power = (1..exponent).fold(base.clone(), |power, _| power.mul(&base));
            assert_eq!(
                opened(&key, &signature),
                Some(power.retrieve()),
                "{exponent}"
            );
        }
    }

    /// The encoding of §9.1.1, of so many bits.
    fn encoding(bits: usize, message: &[u8], salt: [u8; DIGEST], one: u8) -> Vec<u8> {
        let length = bits.div_ceil(8);
        let digest = Sha384::digest(message);
        let hash: [u8; DIGEST] =
            Sha384::digest([&[0; 8], digest.as_slice(), &salt].concat()).into();
        let mut block = vec![0; length - 2 * DIGEST - 2];
        block.push(one);
        block.extend(salt);
        let mut masked: Vec<u8> = block.iter().zip(mask(&hash)).map(|(a, b)| a ^ b).collect();
        masked[0] &= 0xff >> (8 * length - bits);
        [masked.as_slice(), &hash, &[0xbc]].concat()
    }

    #[test]
    fn an_encoding_is_taken_in_one_form_only_whatever_the_modulus_length() {
        for bits in 4088..=4095_u32 {
            let good = encoding(bits as usize, b"message", [7; DIGEST], 1);
            let holds = |encoded: &[u8]| {
                let number = BoxedUint::from_be_slice(encoded, 4096).unwrap();
                encodes(&number, bits, b"message") == Some(true)
            };
            assert!(holds(&good), "{bits} bits");
            for place in 1..good.len() {
                let mut changed = good.clone();
                changed[place] ^= 1;
                assert!(!holds(&changed), "{bits} bits, {place}");
            }
            for one in [0, 2, 0x81] {
                let other = encoding(bits as usize, b"message", [7; DIGEST], one);
                assert!(!holds(&other), "{bits} bits, {one}");
            }
        }
        // One bit more, in the byte that is there for the others.
        let mut more = encoding(4095, b"message", [7; DIGEST], 1);
        more[0] |= 0x80;
        let more = BoxedUint::from_be_slice(&more, 4096).unwrap();
        assert_eq!(encodes(&more, 4095, b"message"), Some(false));
        let last = BoxedUint::from(0xbc_u8);
        for short in 0..98 {
            assert_ne!(encodes(&last, 8 * short, b""), Some(true));
        }
    }
}
