//! A close that both sides of a payment channel agree on (`tolk/channel.tolk`, CoopClose): the
//! payer signs, the payee sends. Between them it goes as a small JSON document.
//!
//! Not here: when to agree; the close by the payer alone (`channel`).

use ed25519_dalek::SigningKey;
use protocol::digest::{PayerKey, ReceiptsRoot, Signature};
use protocol::nano::Nano;
use protocol::ton::{NetworkId, TonAddress};
use protocol::voucher::Voucher;
use serde::{Deserialize, Serialize};
use tycho_types::cell::Cell;

use crate::cells::CellError;
use crate::channel;
use crate::message::Transfer;

/// Tag of the signed cell, "VCC1".
pub const TAG: u32 = 0x5643_4331;

/// What the payer agrees to: the members of a last voucher, under a tag of their own, so that
/// neither can be taken for the other. The total may equal what was claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close(pub Voucher);

/// A close with the payer's signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedClose {
    close: Close,
    payer_key: PayerKey,
    signature: Signature,
}

/// The document is shorter.
pub const MAX_DOCUMENT_BYTES: usize = 2048;

/// The document's form (`docs/spec/channel.md` §3).
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u16,
    network: NetworkId,
    channel: TonAddress,
    epoch: u32,
    /// Nano units, decimal.
    total: String,
    receipts_root: ReceiptsRoot,
    valid_until: u32,
    payer_key: PayerKey,
    signature: Signature,
}

/// A document that is no close.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CloseError {
    /// Not of its form.
    #[error("not a signed close")]
    Malformed,
    /// The signature does not hold under the key in it.
    #[error("the close is not signed by the key that it names")]
    Signature,
}

impl CloseError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed => "close-malformed",
            Self::Signature => "close-signature",
        }
    }
}

impl Close {
    /// Signs the close with the channel's key.
    ///
    /// # Errors
    /// `CellError` never in practice: every voucher fits.
    pub fn sign(self, key: &SigningKey) -> Result<SignedClose, CellError> {
        let hash = self.cell()?.repr_hash().0;
        Ok(SignedClose {
            close: self,
            payer_key: PayerKey(key.verifying_key().to_bytes()),
            signature: Signature::by(key, &hash),
        })
    }

    fn cell(&self) -> Result<Cell, CellError> {
        channel::promise_cell(TAG, &self.0)
    }
}

impl SignedClose {
    /// What was agreed to.
    #[must_use]
    pub const fn promise(&self) -> &Voucher {
        &self.close.0
    }

    /// The key that signed; whether it is the channel's, only the chain can tell.
    #[must_use]
    pub const fn payer_key(&self) -> PayerKey {
        self.payer_key
    }

    /// The document that the payer hands to the payee.
    ///
    /// # Errors
    /// `Malformed` never in practice: every close has a form.
    pub fn to_json(&self) -> Result<String, CloseError> {
        let promise = &self.close.0;
        let document = Document {
            version: 1,
            network: promise.network,
            channel: promise.channel,
            epoch: promise.epoch,
            total: promise.cumulative.to_string(),
            receipts_root: promise.receipts_root,
            valid_until: promise.valid_until,
            payer_key: self.payer_key,
            signature: self.signature,
        };
        let text = serde_json::to_string_pretty(&document);
        let mut text = text.map_err(|_| CloseError::Malformed)?;
        text.push('\n');
        Ok(text)
    }

    /// Reads a document and checks its signature.
    ///
    /// # Errors
    /// [`CloseError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, CloseError> {
        if bytes.len() > MAX_DOCUMENT_BYTES {
            return Err(CloseError::Malformed);
        }
        let document: Document =
            serde_json::from_slice(bytes).map_err(|_| CloseError::Malformed)?;
        let total: Option<Nano> = document
            .total
            .parse()
            .ok()
            .and_then(|units| Nano::new(units).ok());
        let canonical = total.filter(|total| total.to_string() == document.total);
        let (1, Some(cumulative)) = (document.version, canonical) else {
            return Err(CloseError::Malformed);
        };
        let close = Close(Voucher {
            network: document.network,
            channel: document.channel,
            epoch: document.epoch,
            cumulative,
            receipts_root: document.receipts_root,
            valid_until: document.valid_until,
        });
        let hash = close.cell().map_err(|_| CloseError::Malformed)?;
        let hash = hash.repr_hash().0;
        if !document.signature.holds(&document.payer_key.0, &hash) {
            return Err(CloseError::Signature);
        }
        Ok(Self {
            close,
            payer_key: document.payer_key,
            signature: document.signature,
        })
    }

    /// The payee's message: one transaction pays both and closes the channel.
    ///
    /// # Errors
    /// `CellError` never in practice.
    pub fn transfer(&self) -> Result<Transfer, CellError> {
        channel::coop_close(&self.close.0.channel, &self.signature, self.close.cell()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::digest::AccountId;

    fn close() -> Close {
        Close(Voucher {
            network: NetworkId(-7357),
            channel: TonAddress {
                workchain: 0,
                account: AccountId([1; 32]),
            },
            epoch: 7,
            cumulative: Nano::from_u64(750),
            receipts_root: ReceiptsRoot([5; 32]),
            valid_until: 2_100_000_000,
        })
    }

    fn code(text: &str) -> &'static str {
        SignedClose::parse(text.as_bytes()).unwrap_err().code()
    }

    #[test]
    fn a_document_that_differs_in_any_member_is_refused() {
        let key = SigningKey::from_bytes(&[3; 32]);
        let signed = close().sign(&key).unwrap();
        let text = signed.to_json().unwrap();
        assert!(text.len() < MAX_DOCUMENT_BYTES);
        assert_eq!(SignedClose::parse(text.as_bytes()), Ok(signed));
        let changes = [
            ("-7357", "-7358"),
            ("0:01", "0:11"),
            ("\"epoch\": 7", "\"epoch\": 8"),
            ("\"750\"", "\"751\""),
            ("\"0505", "\"0605"),
            ("2100000000", "2100000001"),
        ];
        for (from, to) in changes {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from}");
            assert_eq!(code(&changed), "close-signature", "{from}");
        }
        let other = close().sign(&SigningKey::from_bytes(&[4; 32])).unwrap();
        let other = other.to_json().unwrap();
        let key_of = |text: &str| text.lines().nth(8).unwrap().to_owned();
        let foreign = text.replace(&key_of(&text), &key_of(&other));
        assert_eq!(code(&foreign), "close-signature");
    }

    #[test]
    fn what_is_no_document_is_refused() {
        let key = SigningKey::from_bytes(&[3; 32]);
        let text = close().sign(&key).unwrap().to_json().unwrap();
        let malformed = [
            String::new(),
            "{}".to_owned(),
            text.replace("\"version\": 1", "\"version\": 2"),
            text.replace("\"750\"", "\"0750\""),
            text.replace("\"750\"", "\"-750\""),
            text.replace("\"750\"", "\"+750\""),
            text.replace("\"750\"", "750"),
            text.replace("\"750\"", "\"1329227995784915872903807060280344576\""),
            text.replacen('{', "{\"more\": 1,", 1),
            text.clone() + &" ".repeat(MAX_DOCUMENT_BYTES),
        ];
        for changed in malformed {
            assert_ne!(changed, text);
            assert_eq!(code(&changed), "close-malformed", "{changed}");
        }
    }
}
