//! Ed25519 as everything that is signed here uses it: strictly.

use ed25519_dalek::{Signature as DalekSignature, Signer as _, SigningKey, VerifyingKey};

use crate::digest::Signature;

impl Signature {
    /// The key's signature over a message.
    #[must_use]
    pub fn by(key: &SigningKey, message: &[u8]) -> Self {
        Self(key.sign(message).to_bytes())
    }

    /// Whether this is the signature of the key over the message: `S` is below the group's order,
    /// `R` is encoded in the one way, and neither `R` nor the key is of small order.
    #[must_use]
    pub fn holds(&self, key: &[u8; 32], message: &[u8]) -> bool {
        let signature = DalekSignature::from_bytes(self.as_bytes());
        let key = VerifyingKey::from_bytes(key);
        key.is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
    }
}

#[cfg(test)]
mod tests {
    //! Edges of Ed25519. Keys and signatures were computed for this file by a few lines of Python
    //! over big integers; the points of small order are known.
    use super::*;
    use crate::digest::parse_hex;

    const MESSAGE: &[u8] = b"edges of Ed25519";
    const KEY: &str = "ce0835d5eef35d3d7194904428ab19ee30b76afce559883b3b3542994e42af45";
    const R: &str = "684c0d53ab44de46d526ab4d33b5947bab9d77af687fe0a09518a5f6df4a86eb";
    const S: &str = "3593926f1352b0f5958d58fe583583fcb728efac47cb9ef8a64bbb3e3e56690f";
    const ZERO: &str = "0000000000000000000000000000000000000000000000000000000000000000";
    /// Every encoding of a point whose order divides 8, those that are not canonical too.
    const SMALL: [&str; 14] = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        ZERO,
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    ];

    fn holds(key: &str, r: &str, s: &str) -> bool {
        let [key, r, s] = [key, r, s].map(|text| parse_hex::<32>(text).unwrap());
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&r);
        signature[32..].copy_from_slice(&s);
        Signature(signature).holds(&key, MESSAGE)
    }

    #[test]
    fn a_signature_holds_in_one_encoding_of_its_scalar() {
        assert!(holds(KEY, R, S));
        let order = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
        let and_order = "226788cc2db5c24d6c2a50a1372f6211b828efac47cb9ef8a64bbb3e3e56691f";
        let high_bits = "3593926f1352b0f5958d58fe583583fcb728efac47cb9ef8a64bbb3e3e5669ef";
        for other in [order, and_order, high_bits, ZERO, &"ff".repeat(32)] {
            assert!(!holds(KEY, R, other), "{other}");
        }
    }

    #[test]
    fn a_key_of_small_order_signs_nothing() {
        for key in SMALL {
            for r in SMALL {
                assert!(!holds(key, r, ZERO), "{key} {r}");
            }
            assert!(!holds(key, R, S), "{key}");
        }
    }

    #[test]
    fn an_r_of_small_order_is_refused_where_the_equation_holds_too() {
        let identity = "5e5c498f96a2cb354ce12045decff426eaf6f4e7df213e08cd9b4ed1273f7107";
        assert!(!holds(KEY, SMALL[0], identity));
        let another_encoding = "5f86992e59821a061e7ec35ee097858a3337ca23ca23db2738c4e6b0a0f45a08";
        assert!(!holds(KEY, SMALL[12], another_encoding));
        for r in SMALL {
            assert!(!holds(KEY, r, S), "{r}");
        }
    }

    #[test]
    fn what_holds_only_up_to_the_cofactor_does_not_hold() {
        let key = "3deb8ca9e3d031548d729bed3aa7f3840e256888362f1ea239c189f03b281f24";
        let s = "c2ee3d14e830156fc5586983a03cfbbbc74c0f4487274e9e9f03ba3e0a39a008";
        assert!(!holds(key, R, s));
        let r = "742ad0ba6320e013c4b8e9e7e94fbf87391cd552577028789ffa91cf1633f16b";
        let s = "af5abd7a95ce00d8eb98839748661677ef9b14cb5029c0dce1bd9a3faa9b230e";
        assert!(!holds(KEY, r, s));
    }

    #[test]
    fn bytes_that_are_no_point_are_no_key() {
        let no_point = "0200000000000000000000000000000000000000000000000000000000000000";
        assert!(!holds(no_point, R, S));
        assert!(!holds(KEY, no_point, S));
        assert!(!holds(&"ff".repeat(32), R, S));
    }
}
