//! A close that both sides of a payment channel agree on (`tolk/channel.tolk`, CoopClose): the
//! payer signs, the payee sends.
//!
//! Not here: when to agree; the close by the payer alone (`channel`).

use ed25519_dalek::SigningKey;
use protocol::digest::Signature;
use protocol::voucher::Voucher;
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
    signature: Signature,
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
            signature: Signature::by(key, &hash),
        })
    }

    fn cell(&self) -> Result<Cell, CellError> {
        channel::promise_cell(TAG, &self.0)
    }
}

impl SignedClose {
    /// The payee's message: one transaction pays both and closes the channel.
    ///
    /// # Errors
    /// `CellError` never in practice.
    pub fn transfer(&self) -> Result<Transfer, CellError> {
        channel::coop_close(&self.close.0.channel, &self.signature, self.close.cell()?)
    }
}
