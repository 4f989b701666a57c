//! The standard wallet v4r2: an address from a key, and signed messages that send transfers.
//!
//! On the main network the wallet is the one that every wallet program derives from the same key.
//! On any other network its subwallet number is shifted by the network's id, so that neither its
//! address nor anything it signs is valid elsewhere (the contract itself does not look at the
//! network). Not here: mnemonics, where a seed is kept, and the current sequence number and time,
//! which are arguments.

use core::fmt;

use ed25519_dalek::{Signer as _, SigningKey};
use protocol::ton::{NetworkId, TonAddress};
use tycho_types::cell::{CellBuilder, HashBytes};

use crate::cells::CellError;
use crate::code;
use crate::message::{self, StateInit, Transfer};

/// Transfers in one message at most.
pub const MAX_TRANSFERS: usize = 4;
const STANDARD_SUBWALLET: u32 = 698_983_191;
/// Fees on top of the value; a transfer that cannot be made is skipped, which the contract needs:
/// otherwise the same message could be played, and charged, again and again.
const SEND_MODE: u8 = 3;

/// A message could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// None, or more than [`MAX_TRANSFERS`].
    #[error("{count} transfers in one message")]
    Count {
        /// How many were given.
        count: usize,
    },
    /// A cell could not be made.
    #[error(transparent)]
    Cell(#[from] CellError),
}

/// A key and the wallet that it owns.
pub struct Wallet {
    key: SigningKey,
    subwallet: u32,
}

impl Wallet {
    /// The wallet of a key.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32], network: NetworkId) -> Self {
        let shift = if network == NetworkId::MAIN {
            0
        } else {
            network.0.cast_unsigned()
        };
        Self {
            key: SigningKey::from_bytes(seed),
            subwallet: STANDARD_SUBWALLET.wrapping_add(shift),
        }
    }

    /// The wallet's first state.
    ///
    /// # Errors
    /// `CellError` when the embedded code is damaged.
    pub fn state_init(&self) -> Result<StateInit, CellError> {
        let mut data = CellBuilder::new();
        data.store_u32(0) // sequence number
            .and_then(|()| data.store_u32(self.subwallet))
            .and_then(|()| data.store_u256(&HashBytes(self.key.verifying_key().to_bytes())))
            .and_then(|()| data.store_bit_zero()) // no plugins
            .map_err(CellError::building)?;
        StateInit::new(
            code::WALLET.cell()?,
            data.build().map_err(CellError::building)?,
        )
    }

    /// The wallet's address.
    ///
    /// # Errors
    /// Those of [`Wallet::state_init`].
    pub fn address(&self) -> Result<TonAddress, CellError> {
        Ok(self.state_init()?.address())
    }

    /// A signed message that makes these transfers, as a bag of cells for `send_boc`. With sequence
    /// number 0 it deploys the wallet.
    ///
    /// `valid_until` is in unix seconds of the chain's clock.
    ///
    /// # Errors
    /// See [`TransferError`].
    pub fn sign(
        &self,
        seqno: u32,
        valid_until: u32,
        transfers: &[Transfer],
    ) -> Result<Vec<u8>, TransferError> {
        if !matches!(transfers.len(), 1..=MAX_TRANSFERS) {
            return Err(TransferError::Count {
                count: transfers.len(),
            });
        }
        let mut order = CellBuilder::new();
        order
            .store_u32(self.subwallet)
            .and_then(|()| order.store_u32(valid_until))
            .and_then(|()| order.store_u32(seqno))
            .and_then(|()| order.store_u8(0)) // simple send
            .map_err(CellError::building)?;
        for transfer in transfers {
            order.store_u8(SEND_MODE).map_err(CellError::building)?;
            order
                .store_reference(transfer.cell()?)
                .map_err(CellError::building)?;
        }
        let hash = order.clone().build().map_err(CellError::building)?;
        let signature = self.key.sign(hash.repr_hash().as_slice()).to_bytes();
        let mut body = CellBuilder::new();
        body.store_raw(&signature, 512)
            .and_then(|()| body.store_builder(&order))
            .map_err(CellError::building)?;
        let body = body.build().map_err(CellError::building)?;
        let first = self.state_init()?;
        let deploy = (seqno == 0).then_some(&first);
        Ok(message::external(&first.address(), deploy, body)?)
    }
}

impl fmt::Debug for Wallet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wallet")
            .field("address", &self.address())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Vector {
        seed: String,
        main_network_address: TonAddress,
        research_network_address: TonAddress,
    }

    /// Addresses made with @ton/ton: tests/fixtures/wallet.
    #[test]
    fn addresses_are_those_of_another_implementation_and_differ_per_network() {
        let text = include_str!("../../tests/fixtures/wallet/vector.json");
        let vector: Vector = serde_json::from_str(text).unwrap();
        let seed = protocol::digest::parse_hex(&vector.seed).unwrap();
        let address = |network| Wallet::from_seed(&seed, network).address().unwrap();
        assert_eq!(address(NetworkId::MAIN), vector.main_network_address);
        assert_eq!(address(NetworkId(-7357)), vector.research_network_address);
    }

    #[test]
    fn refuses_no_transfer_and_more_than_a_message_holds() {
        let wallet = Wallet::from_seed(&[1; 32], NetworkId::MAIN);
        let refused = wallet.sign(0, 0, &[]);
        assert_eq!(refused, Err(TransferError::Count { count: 0 }));
        let one = crate::channel::start_close(&wallet.address().unwrap()).unwrap();
        let refused = wallet.sign(0, 0, &vec![one; 5]);
        assert_eq!(refused, Err(TransferError::Count { count: 5 }));
    }

    #[test]
    fn debug_shows_no_key() {
        let shown = format!("{:?}", Wallet::from_seed(&[7; 32], NetworkId::MAIN));
        assert!(!shown.contains("0707"), "{shown}");
        assert!(!shown.contains("[7, 7"), "{shown}");
    }
}
