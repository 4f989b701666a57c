//! The payment channel contract (`tolk/channel.tolk`): its address, its messages, its stored state.
//!
//! Not here: what a voucher is and how it is signed (`protocol::voucher`), when to claim.

use protocol::digest::{PayerKey, ReceiptsRoot, Signature};
use protocol::nano::{AmountOverflow, Nano};
use protocol::ton::TonAddress;
use protocol::voucher::{SignedVoucher, TAG, Voucher};
use tycho_types::cell::{Cell, CellBuilder, CellSlice, HashBytes};

use crate::cells::{self, CellError};
use crate::code;
use crate::message::{StateInit, Transfer, operation};

const OP_TOP_UP: u32 = 0x4348_0001;
const OP_CLAIM: u32 = 0x4348_0002;
const OP_START_CLOSE: u32 = 0x4348_0003;
const OP_FINISH_CLOSE: u32 = 0x4348_0004;
const OP_COOP_CLOSE: u32 = 0x4348_0005;
const CLOSED: u32 = 0;
const OPEN: u32 = u32::MAX;

/// Sent above the amount when a channel is opened or topped up: gas and five years of storage rent,
/// 0.048 coins at the prices before 2026. The rest stays as reserve and returns at the close.
pub const TOP_UP_MARGIN: Nano = Nano::from_u64(100_000_000);
/// Sent along with a claim, a close or its finish. What is not used comes back with the payout (a
/// claim, a finish) or stays in the channel for the payer.
pub const MESSAGE_VALUE: Nano = Nano::from_u64(20_000_000);
/// The longest window that the contract opens with, seconds.
pub const LONGEST_WINDOW: u32 = 90 * 86_400;

/// Why the contract refused a message: its exit codes.
pub mod exit {
    /// Only the payee claims.
    pub const NOT_PAYEE: i32 = 101;
    /// Only the payer starts the close.
    pub const NOT_PAYER: i32 = 102;
    /// The payer's key did not sign this voucher.
    pub const BAD_SIGNATURE: i32 = 103;
    /// Not above what was claimed already.
    pub const STALE_VOUCHER: i32 = 104;
    /// The voucher is for another network.
    pub const OTHER_NETWORK: i32 = 105;
    /// The voucher is for another channel.
    pub const OTHER_CHANNEL: i32 = 106;
    /// The voucher is of another epoch.
    pub const OTHER_EPOCH: i32 = 107;
    /// The voucher has expired.
    pub const EXPIRED_VOUCHER: i32 = 108;
    /// More than was deposited.
    pub const OVERDRAW: i32 = 109;
    /// The channel is not open.
    pub const NOT_OPEN: i32 = 110;
    /// The close has begun already.
    pub const ALREADY_CLOSING: i32 = 111;
    /// The window for claims is over.
    pub const WINDOW_OVER: i32 = 112;
    /// The window for claims is not over yet.
    pub const WINDOW_RUNNING: i32 = 113;
    /// The close has not begun.
    pub const NOT_CLOSING: i32 = 114;
    /// The value does not cover amount, rent and gas.
    pub const UNDERFUNDED: i32 = 115;
    /// Another workchain, or too long a window.
    pub const BAD_TERMS: i32 = 116;
    /// The claim's cell has another tag.
    pub const NOT_A_VOUCHER: i32 = 117;
    /// The close's cell has another tag.
    pub const NOT_A_CLOSE: i32 = 118;
    /// A message that the contract does not know.
    pub const UNKNOWN_MESSAGE: i32 = 0xFFFF;
}

/// What payer and payee agree on; it determines the channel's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelTerms {
    /// Who may start the close and gets what was not claimed.
    pub payer: TonAddress,
    /// Who may claim.
    pub payee: TonAddress,
    /// The key that signs vouchers.
    pub payer_key: PayerKey,
    /// Seconds in which the payee can still claim after the payer asked to close.
    pub window: u32,
}

impl ChannelTerms {
    /// The first state.
    ///
    /// # Errors
    /// `CellError` when the embedded code is damaged.
    pub fn state_init(&self) -> Result<StateInit, CellError> {
        StateInit::of(&code::CHANNEL, self.first_data()?)
    }

    /// The data of a channel that was never opened; one in a jetton has more behind it.
    pub(crate) fn first_data(&self) -> Result<CellBuilder, CellError> {
        let mut parties = CellBuilder::new();
        cells::store_address(&mut parties, &self.payee)?;
        parties
            .store_u256(&HashBytes(self.payer_key.0))
            .map_err(CellError::building)?;
        cells::store_address(&mut parties, &self.payer)?;
        let parties = parties.build().map_err(CellError::building)?;

        let mut data = CellBuilder::new();
        cells::store_coins(&mut data, Nano::ZERO)?; // claimed
        data.store_zeros(256 + 32).map_err(CellError::building)?; // last root, CLOSED
        cells::store_coins(&mut data, Nano::ZERO)?; // deposited
        data.store_u32(0) // epoch
            .and_then(|()| data.store_u32(self.window))
            .and_then(|()| data.store_reference(parties))
            .map_err(CellError::building)?;
        Ok(data)
    }

    /// The channel's address.
    ///
    /// # Errors
    /// Those of [`ChannelTerms::state_init`].
    pub fn address(&self) -> Result<TonAddress, CellError> {
        Ok(self.state_init()?.address())
    }

    /// Opens the channel, or adds to its deposit.
    ///
    /// # Errors
    /// Those of [`ChannelTerms::state_init`]; `DoesNotFit` when the amount leaves the range.
    pub fn top_up(&self, amount: Nano) -> Result<Transfer, CellError> {
        let mut body = operation(OP_TOP_UP)?;
        cells::store_coins(&mut body, amount)?;
        let value = amount
            .plus(TOP_UP_MARGIN)
            .map_err(|AmountOverflow| CellError::DoesNotFit)?;
        Transfer::deploying(self.state_init()?, value, body)
    }
}

/// The payee's message that turns a voucher into coins.
///
/// # Errors
/// `CellError` never in practice: every voucher fits.
pub fn claim(channel: &TonAddress, voucher: &SignedVoucher) -> Result<Transfer, CellError> {
    let promise = voucher_cell(&voucher.voucher)?;
    signed(OP_CLAIM, channel, &voucher.signature, promise)
}

/// The payee's message that closes at once, as the payer agreed: `crate::close`.
pub(crate) fn coop_close(
    channel: &TonAddress,
    signature: &Signature,
    close: Cell,
) -> Result<Transfer, CellError> {
    signed(OP_COOP_CLOSE, channel, signature, close)
}

fn signed(
    op: u32,
    channel: &TonAddress,
    signature: &Signature,
    promise: Cell,
) -> Result<Transfer, CellError> {
    let mut body = operation(op)?;
    body.store_raw(signature.as_bytes(), 512)
        .map_err(CellError::building)?;
    body.store_reference(promise).map_err(CellError::building)?;
    Transfer::to_contract(channel, MESSAGE_VALUE, body)
}

/// The payer's wish to leave: from here on the window runs.
///
/// # Errors
/// `CellError` never in practice.
pub fn start_close(channel: &TonAddress) -> Result<Transfer, CellError> {
    Transfer::to_contract(channel, MESSAGE_VALUE, operation(OP_START_CLOSE)?)
}

/// Ends the channel after the window; anyone may send it.
///
/// # Errors
/// `CellError` never in practice.
pub fn finish_close(channel: &TonAddress) -> Result<Transfer, CellError> {
    Transfer::to_contract(channel, MESSAGE_VALUE, operation(OP_FINISH_CLOSE)?)
}

/// The voucher as the contract reads it. Its hash is [`Voucher::representation_hash`].
///
/// # Errors
/// `CellError` never in practice.
pub fn voucher_cell(voucher: &Voucher) -> Result<Cell, CellError> {
    promise_cell(TAG, voucher)
}

/// A voucher's members under a tag.
pub(crate) fn promise_cell(tag: u32, voucher: &Voucher) -> Result<Cell, CellError> {
    let mut cell = operation(tag)?;
    cell.store_u32(voucher.network.0.cast_unsigned())
        .map_err(CellError::building)?;
    cells::store_address(&mut cell, &voucher.channel)?;
    cell.store_u32(voucher.epoch).map_err(CellError::building)?;
    cells::store_coins(&mut cell, voucher.cumulative)?;
    cell.store_u256(&HashBytes(voucher.receipts_root.0))
        .and_then(|()| cell.store_u32(voucher.valid_until))
        .and_then(|()| cell.build())
        .map_err(CellError::building)
}

/// Where a channel stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Not yet opened, or closed.
    Closed,
    /// Vouchers count.
    Open,
    /// The payer asked to close: vouchers count before this second.
    Closing {
        /// Unix seconds.
        until: u32,
    },
}

/// What the contract stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelState {
    /// Where the channel stands.
    pub standing: Standing,
    /// Unix time of its opening: vouchers name it. 0 before the first.
    pub epoch: u32,
    /// Deposited in this epoch.
    pub deposited: Nano,
    /// Paid to the payee in this epoch.
    pub claimed: Nano,
    /// Receipts root of the last claim.
    pub last_root: ReceiptsRoot,
    /// Who pays whom.
    pub terms: ChannelTerms,
}

impl ChannelState {
    /// Reads the contract's data cell.
    ///
    /// # Errors
    /// `Malformed` for any other layout.
    pub fn parse(data: &Cell) -> Result<Self, CellError> {
        let mut slice = data.as_slice().map_err(CellError::parsing)?;
        let state = Self::load(&mut slice)?;
        cells::finish(&slice)?;
        Ok(state)
    }

    /// Reads what every channel stores; one in a jetton stores more behind it.
    pub(crate) fn load(slice: &mut CellSlice<'_>) -> Result<Self, CellError> {
        let claimed = cells::load_coins(slice)?;
        let last_root = ReceiptsRoot(slice.load_u256().map_err(CellError::parsing)?.0);
        let close_at = slice.load_u32().map_err(CellError::parsing)?;
        let deposited = cells::load_coins(slice)?;
        let epoch = slice.load_u32().map_err(CellError::parsing)?;
        let window = slice.load_u32().map_err(CellError::parsing)?;
        let parties = slice
            .load_reference_as_slice()
            .map_err(CellError::parsing)?;
        Ok(Self {
            standing: match close_at {
                CLOSED => Standing::Closed,
                OPEN => Standing::Open,
                until => Standing::Closing { until },
            },
            epoch,
            deposited,
            claimed,
            last_root,
            terms: parse_parties(parties, window)?,
        })
    }

    /// What can still be claimed: deposited, less claimed.
    #[must_use]
    pub fn unclaimed(&self) -> Nano {
        self.deposited.minus(self.claimed).unwrap_or(Nano::ZERO)
    }
}

fn parse_parties(mut parties: CellSlice<'_>, window: u32) -> Result<ChannelTerms, CellError> {
    let payee = cells::load_address(&mut parties)?;
    let payer_key = PayerKey(parties.load_u256().map_err(CellError::parsing)?.0);
    let payer = cells::load_address(&mut parties)?;
    cells::finish(&parties)?;
    Ok(ChannelTerms {
        payer,
        payee,
        payer_key,
        window,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::ton::NetworkId;

    #[derive(serde::Deserialize)]
    struct Vectors {
        vectors: Vec<Vector>,
    }

    #[derive(serde::Deserialize)]
    struct Vector {
        name: String,
        cell_hash: String,
        boc: String,
        signed: String,
    }

    fn bytes_of(hex: &str) -> Vec<u8> {
        let digits = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        hex.as_bytes().chunks(2).map(digits).collect()
    }

    /// The same vectors as `protocol`'s: the cell, its hash without a cell library, the wire form.
    #[test]
    fn the_voucher_that_is_signed_is_the_cell_that_is_claimed() {
        use base64::Engine as _;
        let text = include_str!("../../tests/fixtures/voucher/vectors.json");
        let all: Vectors = serde_json::from_str(text).unwrap();
        assert!(all.vectors.len() >= 12);
        for vector in all.vectors {
            let signed = SignedVoucher::decode(&bytes_of(&vector.signed)).unwrap();
            let cell = voucher_cell(&signed.voucher).unwrap();
            let bag = base64::engine::general_purpose::STANDARD
                .decode(&vector.boc)
                .unwrap();
            assert_eq!(cell, cells::decode(&bag).unwrap(), "{}", vector.name);
            let hash = cell.repr_hash().0;
            assert_eq!(hash, signed.voucher.representation_hash());
            assert_eq!(hash.to_vec(), bytes_of(&vector.cell_hash));
        }
    }

    fn terms() -> ChannelTerms {
        let address = |byte| TonAddress {
            workchain: 0,
            account: protocol::digest::AccountId([byte; 32]),
        };
        ChannelTerms {
            payer: address(1),
            payee: address(2),
            payer_key: PayerKey([3; 32]),
            window: 3600,
        }
    }

    #[test]
    fn refuses_a_state_with_anything_missing_or_more() {
        let state = terms().state_init().unwrap().cell();
        let data = state.reference_cloned(1).unwrap();
        let parsed = ChannelState::parse(&data).unwrap();
        assert_eq!((parsed.terms, parsed.standing), (terms(), Standing::Closed));
        let mut longer = CellBuilder::new();
        longer.store_slice(data.as_slice().unwrap()).unwrap();
        longer.store_bit_zero().unwrap();
        let refused = ChannelState::parse(&longer.build().unwrap());
        assert_eq!(refused, Err(CellError::Malformed));
        let empty = CellBuilder::new().build().unwrap();
        assert_eq!(ChannelState::parse(&empty), Err(CellError::Malformed));
        let parties = data.reference_cloned(0).unwrap();
        assert_eq!(ChannelState::parse(&parties), Err(CellError::Malformed));
    }

    #[test]
    fn refuses_an_amount_beyond_the_range_with_its_margin() {
        assert_eq!(terms().top_up(Nano::MAX), Err(CellError::DoesNotFit));
        let voucher = Voucher {
            network: NetworkId(-7357),
            channel: terms().address().unwrap(),
            epoch: 1,
            cumulative: Nano::MAX,
            receipts_root: ReceiptsRoot::ZERO,
            valid_until: 1,
        };
        assert!(voucher_cell(&voucher).is_ok());
    }
}
