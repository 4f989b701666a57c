//! `ton_proof`: a wallet's signature that binds its address, this program's domain, a time and our
//! nonce.
//!
//! Pure: time is an argument. Not here: where the wallet's key comes from (`contracts::wallet`,
//! its first state), who asked.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use protocol::ton::TonAddress;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use verifier::UnixTime;

/// How far the wallet's clock may be from ours, seconds: phones set theirs by the network, and the
/// user may take a while to confirm.
pub const PROOF_SECONDS: u64 = 900;

/// Why a proof shows nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Not of the documented form.
    #[error("the proof is not of the documented form")]
    Malformed,
    /// For another program.
    #[error("the proof is for another domain")]
    Domain,
    /// For another request.
    #[error("the proof answers another request")]
    Payload,
    /// Too far from now.
    #[error("the proof's time is more than {PROOF_SECONDS} s from this machine's")]
    Time,
    /// The wallet's key did not sign it.
    #[error("the wallet's key did not sign the proof")]
    Signature,
}

/// A proof as the wallet shows it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ShownProof {
    /// Unix seconds; the specification says a string, wallets also send a number.
    timestamp: Timestamp,
    domain: Domain,
    /// Base64.
    signature: String,
    payload: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Timestamp {
    Number(u64),
    Text(String),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Domain {
    length_bytes: u32,
    value: String,
}

/// What was asked for, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// The host of the program's manifest.
    pub domain: &'a str,
    /// Our nonce, as text.
    pub payload: &'a str,
    /// Now.
    pub at: UnixTime,
}

impl ShownProof {
    /// Checks that the wallet at `address`, whose key is `key`, signed what was asked.
    ///
    /// # Errors
    /// See [`ProofError`], in this order.
    pub(super) fn check(
        &self,
        address: &TonAddress,
        key: &VerifyingKey,
        asked: Asked<'_>,
    ) -> Result<(), ProofError> {
        let seconds = match &self.timestamp {
            Timestamp::Number(seconds) => *seconds,
            Timestamp::Text(text) => text.parse().map_err(|_| ProofError::Malformed)?,
        };
        let signature = STANDARD.decode(&self.signature);
        let signature = signature.map_err(|_| ProofError::Malformed)?;
        let signature = Signature::from_slice(&signature).map_err(|_| ProofError::Malformed)?;
        let length = u32::try_from(self.domain.value.len());
        if self.domain.value != asked.domain || length != Ok(self.domain.length_bytes) {
            return Err(ProofError::Domain);
        }
        if self.payload != asked.payload {
            return Err(ProofError::Payload);
        }
        if seconds.abs_diff(asked.at.0) > PROOF_SECONDS {
            return Err(ProofError::Time);
        }
        let signed = signed_bytes(address, asked.domain, seconds, asked.payload);
        key.verify_strict(&signed, &signature)
            .map_err(|_| ProofError::Signature)
    }
}

/// What the key signs: requests-responses.md of TON Connect, "Address proof signature".
#[must_use]
pub fn signed_bytes(address: &TonAddress, domain: &str, seconds: u64, payload: &str) -> [u8; 32] {
    let length = u32::try_from(domain.len()).unwrap_or(u32::MAX);
    let message = Sha256::new()
        .chain_update(b"ton-proof-item-v2/")
        .chain_update(i32::from(address.workchain).to_be_bytes())
        .chain_update(address.account.as_bytes())
        .chain_update(length.to_le_bytes())
        .chain_update(domain)
        .chain_update(seconds.to_le_bytes())
        .chain_update(payload)
        .finalize();
    Sha256::new()
        .chain_update([0xff, 0xff])
        .chain_update(b"ton-connect")
        .chain_update(message)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::digest::{AccountId, parse_hex};

    const DOMAIN: &str = "cocoon.example";
    const AT: u64 = 1_795_000_000;

    /// Made with Node's own SHA-256 and Ed25519 from the specification's text: the key of the seed
    /// `42…`, the account `0:5a…`, the payload `8f…` of 64 characters.
    const KEY: &str = "2152f8d19b791d24453242e15f2eab6cb7cffa7b6a5ed30097960e069881db12";
    const SIGNED: &str = "98c90ea1430276cf0c2f924aa7d6e5413162cb12958038a4cd0ad5e9b5727217";
    const SIGNATURE: &str = "CqN/nRBrDXj+qAYZMqvDD3RUHClsDHJCGOSC9MUzLTqvQh03QNCr9wFBS3Yrdwdetr\
        OuLEIOdnNbIKYCzo+uAw==";

    #[test]
    fn what_is_signed_is_what_another_implementation_signs() {
        let address = TonAddress {
            workchain: 0,
            account: AccountId([0x5a; 32]),
        };
        let payload = "8f".repeat(32);
        let signed = signed_bytes(&address, DOMAIN, AT, &payload);
        assert_eq!(parse_hex(SIGNED), Ok(signed));
        let shown = serde_json::json!({
            "timestamp": AT.to_string(),
            "domain": { "lengthBytes": DOMAIN.len(), "value": DOMAIN },
            "signature": SIGNATURE,
            "payload": payload,
        });
        let shown: ShownProof = serde_json::from_value(shown).unwrap();
        let key = VerifyingKey::from_bytes(&parse_hex(KEY).unwrap()).unwrap();
        let asked = Asked {
            domain: DOMAIN,
            payload: &payload,
            at: UnixTime(AT),
        };
        assert_eq!(shown.check(&address, &key, asked), Ok(()));
        // A wallet of the masterchain with the same account is another wallet.
        let other = TonAddress {
            workchain: -1,
            ..address
        };
        let refused = shown.check(&other, &key, asked);
        assert_eq!(refused, Err(ProofError::Signature));
    }
}
