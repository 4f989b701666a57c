//! The standard wallets v4r2 and v5r1: an address from a key, and signed messages that send
//! transfers.
//!
//! On the main network a wallet is the one that every wallet program derives from the same key. On
//! any other network its number has the network's id in it (of v5r1 by its own rule, of v4r2 by
//! ours, a shift), so that neither its address nor anything it signs is valid elsewhere: neither
//! contract looks at the network itself. Not here: where a seed is kept, and the current sequence
//! number and time, which are arguments.

pub mod mnemonic;
mod outside;

use core::fmt;
use core::str::FromStr;

use ed25519_dalek::{Signer as _, SigningKey};
use protocol::ton::{NetworkId, TonAddress};
use tycho_types::cell::{Cell, CellBuilder, HashBytes};

use crate::cells::CellError;
use crate::code;
use crate::message::{self, StateInit, Transfer};

pub use outside::{AskedTransfer, ShownWallet, ShownWalletError};

/// Which wallet contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WalletKind {
    /// The wallet of most programs before 2024.
    #[default]
    V4R2,
    /// The wallet that most programs make now.
    V5R1,
}

impl WalletKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::V4R2, Self::V5R1];

    /// Its usual name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V4R2 => "v4r2",
            Self::V5R1 => "v5r1",
        }
    }

    /// The exit code with which it refuses a message whose sequence number is not the next.
    #[must_use]
    pub const fn wrong_seqno(self) -> i32 {
        match self {
            Self::V4R2 => 33,
            Self::V5R1 => 133,
        }
    }

    /// The kind that runs this code.
    pub(crate) fn of_code(code: &Cell) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|kind| kind.code().is(code))
    }

    /// The sequence number in a wallet's data.
    pub(crate) fn seqno(self, data: &Cell) -> Result<u32, CellError> {
        let mut slice = data.as_slice().map_err(CellError::parsing)?;
        if self == Self::V5R1 {
            slice.load_bit().map_err(CellError::parsing)?;
        }
        slice.load_u32().map_err(CellError::parsing)
    }

    /// The public key in a wallet's data: it follows the sequence number and the wallet's number.
    fn public_key(self, data: &Cell) -> Result<[u8; 32], CellError> {
        let skipped = match self {
            Self::V4R2 => 32 + 32,
            Self::V5R1 => 1 + 32 + 32,
        };
        let mut slice = data.as_slice().map_err(CellError::parsing)?;
        slice.skip_first(skipped, 0).map_err(CellError::parsing)?;
        slice
            .load_u256()
            .map(|key| key.0)
            .map_err(CellError::parsing)
    }

    const fn code(self) -> &'static code::Code {
        match self {
            Self::V4R2 => &code::WALLET_V4R2,
            Self::V5R1 => &code::WALLET_V5R1,
        }
    }

    /// The number by which the contract tells its wallets apart.
    const fn number(self, network: NetworkId) -> u32 {
        let network = network.0.cast_unsigned();
        match self {
            Self::V4R2 if network == NetworkId::MAIN.0.cast_unsigned() => STANDARD_SUBWALLET,
            Self::V4R2 => STANDARD_SUBWALLET.wrapping_add(network),
            Self::V5R1 => network ^ V5R1_CONTEXT,
        }
    }
}

/// No such kind of wallet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a kind of wallet: v4r2 or v5r1")]
pub struct UnknownKind;

impl FromStr for WalletKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        let mut all = Self::ALL.into_iter();
        all.find(|kind| kind.name() == text).ok_or(UnknownKind)
    }
}

/// Transfers in one message at most.
pub const MAX_TRANSFERS: usize = 4;
const STANDARD_SUBWALLET: u32 = 698_983_191;
/// Of v5r1: made by a client, workchain 0, version 0, subwallet 0.
const V5R1_CONTEXT: u32 = 1 << 31;
/// Of v5r1: what follows was signed and came from outside, "sign".
const V5R1_SIGNED: u32 = 0x7369_676e;
/// TL-B's `action_send_msg`.
const SEND_MESSAGE: u32 = 0x0ec3_c86d;
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
    kind: WalletKind,
    number: u32,
}

impl Wallet {
    /// The wallet v4r2 of a key.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32], network: NetworkId) -> Self {
        Self::of_kind(WalletKind::V4R2, seed, network)
    }

    /// The wallet of a key.
    #[must_use]
    pub fn of_kind(kind: WalletKind, seed: &[u8; 32], network: NetworkId) -> Self {
        Self {
            key: SigningKey::from_bytes(seed),
            kind,
            number: kind.number(network),
        }
    }

    /// Which contract it is.
    #[must_use]
    pub const fn kind(&self) -> WalletKind {
        self.kind
    }

    /// The wallet's first state.
    ///
    /// # Errors
    /// `CellError` when the embedded code is damaged.
    pub fn state_init(&self) -> Result<StateInit, CellError> {
        let mut data = CellBuilder::new();
        if self.kind == WalletKind::V5R1 {
            // Signatures by its key count.
            data.store_bit_one().map_err(CellError::building)?;
        }
        data.store_u32(0) // sequence number
            .and_then(|()| data.store_u32(self.number))
            .and_then(|()| data.store_u256(&HashBytes(self.key.verifying_key().to_bytes())))
            .and_then(|()| data.store_bit_zero()) // no plugins, no extensions
            .map_err(CellError::building)?;
        StateInit::of(self.kind.code(), data)
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
        let body = match self.kind {
            WalletKind::V4R2 => self.body_of_v4r2(seqno, valid_until, transfers),
            WalletKind::V5R1 => self.body_of_v5r1(seqno, valid_until, transfers),
        };
        let body = body?.build().map_err(CellError::building)?;
        let first = self.state_init()?;
        let deploy = (seqno == 0).then_some(&first);
        Ok(message::external(&first.address(), deploy, body)?)
    }

    /// Signature, then what is signed.
    fn body_of_v4r2(
        &self,
        seqno: u32,
        valid_until: u32,
        transfers: &[Transfer],
    ) -> Result<CellBuilder, CellError> {
        let mut order = CellBuilder::new();
        order
            .store_u32(self.number)
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
        let mut body = CellBuilder::new();
        body.store_raw(&self.signature(&order)?, 512)
            .and_then(|()| body.store_builder(&order))
            .map_err(CellError::building)?;
        Ok(body)
    }

    /// What is signed, then the signature.
    fn body_of_v5r1(
        &self,
        seqno: u32,
        valid_until: u32,
        transfers: &[Transfer],
    ) -> Result<CellBuilder, CellError> {
        let mut actions = CellBuilder::new().build().map_err(CellError::building)?;
        for transfer in transfers {
            let mut action = CellBuilder::new();
            action
                .store_reference(actions)
                .and_then(|()| action.store_u32(SEND_MESSAGE))
                .and_then(|()| action.store_u8(SEND_MODE))
                .map_err(CellError::building)?;
            action
                .store_reference(transfer.cell()?)
                .map_err(CellError::building)?;
            actions = action.build().map_err(CellError::building)?;
        }
        let mut order = CellBuilder::new();
        order
            .store_u32(V5R1_SIGNED)
            .and_then(|()| order.store_u32(self.number))
            .and_then(|()| order.store_u32(valid_until))
            .and_then(|()| order.store_u32(seqno))
            .and_then(|()| order.store_bit_one()) // actions
            .and_then(|()| order.store_reference(actions))
            .and_then(|()| order.store_bit_zero()) // nothing else
            .map_err(CellError::building)?;
        let signature = self.signature(&order)?;
        order
            .store_raw(&signature, 512)
            .map_err(CellError::building)?;
        Ok(order)
    }

    fn signature(&self, order: &CellBuilder) -> Result<[u8; 64], CellError> {
        let cell = order.clone().build().map_err(CellError::building)?;
        Ok(self.key.sign(cell.repr_hash().as_slice()).to_bytes())
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
    use crate::message::OnFailure;
    use protocol::nano::Nano;

    #[derive(serde::Deserialize)]
    struct Vector {
        seed: String,
        main_network_address: TonAddress,
        research_network_address: TonAddress,
        v5r1_main_network_address: TonAddress,
        v5r1_research_network_address: TonAddress,
        valid_until: u32,
        /// Hashes of the bodies of a message with number 7 that sends two transfers.
        body: String,
        v5r1_body: String,
    }

    /// Made with @ton/ton: tests/fixtures/wallet.
    fn vector() -> (Vector, [u8; 32]) {
        let text = include_str!("../../../tests/fixtures/wallet/vector.json");
        let vector: Vector = serde_json::from_str(text).unwrap();
        let seed = protocol::digest::parse_hex(&vector.seed).unwrap();
        (vector, seed)
    }

    #[test]
    fn addresses_are_those_of_another_implementation_and_differ_per_network() {
        let (vector, seed) = vector();
        let address = |kind, network| Wallet::of_kind(kind, &seed, network).address().unwrap();
        let main = NetworkId::MAIN;
        let research = NetworkId(-7357);
        let expected = [
            (WalletKind::V4R2, main, vector.main_network_address),
            (WalletKind::V4R2, research, vector.research_network_address),
            (WalletKind::V5R1, main, vector.v5r1_main_network_address),
            (
                WalletKind::V5R1,
                research,
                vector.v5r1_research_network_address,
            ),
        ];
        for (kind, network, expected) in expected {
            assert_eq!(address(kind, network), expected, "{kind:?} {network:?}");
        }
    }

    #[test]
    fn what_is_signed_is_what_another_implementation_signs() {
        let (vector, seed) = vector();
        let transfer = |to, value| Transfer {
            to,
            value: Nano::from_u64(value),
            on_failure: OnFailure::Return,
            deploy: None,
            body: None,
        };
        let transfers = [
            transfer(vector.main_network_address, 1_000_000_000),
            transfer(vector.v5r1_main_network_address, 1),
        ];
        let expected = [
            (WalletKind::V4R2, &vector.body),
            (WalletKind::V5R1, &vector.v5r1_body),
        ];
        for (kind, expected) in expected {
            let wallet = Wallet::of_kind(kind, &seed, NetworkId::MAIN);
            let body = match kind {
                WalletKind::V4R2 => wallet.body_of_v4r2(7, vector.valid_until, &transfers),
                WalletKind::V5R1 => wallet.body_of_v5r1(7, vector.valid_until, &transfers),
            };
            let hash = body.unwrap().build().unwrap().repr_hash().to_string();
            assert_eq!(&hash, expected, "{kind:?}");
        }
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
