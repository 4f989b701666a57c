//! ProviderStake (`tolk/stake.tolk`): its address, its messages, its stored state.
//!
//! `docs/spec/stake.md`. Not here: the evidence that takes a stake (`evidence`), when to stake or
//! to report, which provider a registry lists (`registry`).

mod evidence;

use protocol::digest::ProviderKey;
use protocol::nano::Nano;
use protocol::ton::TonAddress;
use tycho_types::cell::{Cell, CellBuilder, CellSlice, HashBytes};

use crate::account::Account;
use crate::cells::{self, CellError};
use crate::code;
use crate::message::{StateInit, Transfer, operation};
use crate::toncenter::ChainError;

pub use evidence::{
    BeaconBlock, Binding, Conflict, EvidenceError, Late, MAX_BINDING_BYTES, SignedBinding,
};

const OP_STAKE: u32 = 0x5354_0001;
const OP_UNBOND: u32 = 0x5354_0002;
const OP_WITHDRAW: u32 = 0x5354_0003;

/// Sent with a stake beyond its amount: gas, and five years of rent, 0.055 coins at the prices
/// before 2026. It leaves with the stake.
pub const STAKE_VALUE: Nano = Nano::from_u64(200_000_000);
/// Sent with any other message: gas. What is left of the owner's stays and leaves with the stake;
/// what is left of a reporter's comes back.
pub const MESSAGE_VALUE: Nano = Nano::from_u64(50_000_000);

/// Why the contract refused a message: its exit codes.
pub mod exit {
    /// Only the owner unbonds.
    pub const NOT_OWNER: i32 = 301;
    /// Nothing is staked.
    pub const NOTHING_STAKED: i32 = 302;
    /// Unbonding already.
    pub const ALREADY_UNBONDING: i32 = 303;
    /// Not unbonding.
    pub const NOT_UNBONDING: i32 = 304;
    /// The unbonding time is not over.
    pub const TOO_EARLY: i32 = 305;
    /// Taken before.
    pub const SLASHED: i32 = 306;
    /// The value does not cover amount, rent and gas.
    pub const UNDERFUNDED: i32 = 307;
    /// Terms out of range, or a party outside the basechain.
    pub const BAD_TERMS: i32 = 308;
    /// The cell is no binding.
    pub const NOT_A_BINDING: i32 = 309;
    /// Binding or receipt of another network.
    pub const OTHER_NETWORK: i32 = 310;
    /// Binding for another stake.
    pub const OTHER_STAKE: i32 = 311;
    /// The provider did not sign the binding.
    pub const BAD_BINDING: i32 = 312;
    /// No receipt, or not in its chain of cells.
    pub const MALFORMED_RECEIPT: i32 = 313;
    /// The bound key did not sign the receipt.
    pub const BAD_RECEIPT: i32 = 314;
    /// Two receipts that an honest machine may have made.
    pub const NO_CONFLICT: i32 = 315;
    /// Told by another than the registry.
    pub const NOT_REGISTRY: i32 = 316;
    /// Told about another key than the bound measurement.
    pub const OTHER_MEASUREMENT: i32 = 317;
    /// The measurement stands.
    pub const NOT_REVOKED: i32 = 318;
    /// Not the block that the receipt names.
    pub const OTHER_BEACON: i32 = 319;
    /// No header of a masterchain block.
    pub const NOT_A_BLOCK: i32 = 320;
    /// Not later than revocation and grace period.
    pub const WITHIN_GRACE: i32 = 321;
    /// A message that the contract does not know.
    pub const UNKNOWN_MESSAGE: i32 = 0xFFFF;
}

/// What a stake is about; it determines the contract's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StakeTerms {
    /// Gets the stake back.
    pub owner: TonAddress,
    /// Says what was revoked, and when.
    pub registry: TonAddress,
    /// Gets what is taken, less the reporter's tenth.
    pub sink: TonAddress,
    /// The key by which the registry lists the provider; it signs bindings.
    pub provider_key: ProviderKey,
    /// Seconds between [`unbond`] and [`withdraw`]: 1 to 365 days.
    pub unbonding: u32,
    /// Seconds after a revocation within which receipts are no evidence: at most 30 days.
    pub grace: u32,
}

impl StakeTerms {
    /// The first state.
    ///
    /// # Errors
    /// `CellError` when the embedded code is damaged.
    pub fn state_init(&self) -> Result<StateInit, CellError> {
        let mut parties = CellBuilder::new();
        for party in [&self.owner, &self.registry, &self.sink] {
            cells::store_address(&mut parties, party)?;
        }
        let mut data = CellBuilder::new();
        cells::store_coins(&mut data, Nano::ZERO)?;
        data.store_zeros(32 + 32) // not unbonding, not taken
            .and_then(|()| data.store_u256(&HashBytes(*self.provider_key.as_bytes())))
            .and_then(|()| data.store_u32(self.unbonding))
            .and_then(|()| data.store_u32(self.grace))
            .and_then(|()| parties.build())
            .and_then(|parties| data.store_reference(parties))
            .map_err(CellError::building)?;
        StateInit::of(&code::STAKE, data)
    }

    /// The stake's address.
    ///
    /// # Errors
    /// Those of [`StakeTerms::state_init`].
    pub fn address(&self) -> Result<TonAddress, CellError> {
        Ok(self.state_init()?.address())
    }

    /// Adds to the stake; the first time it deploys the contract.
    ///
    /// # Errors
    /// Those of [`StakeTerms::state_init`], and `DoesNotFit` beyond the range of amounts.
    pub fn stake(&self, amount: Nano) -> Result<Transfer, CellError> {
        let mut body = operation(OP_STAKE)?;
        cells::store_coins(&mut body, amount)?;
        let value = amount.plus(STAKE_VALUE);
        let value = value.map_err(|_| CellError::DoesNotFit)?;
        Transfer::deploying(self.state_init()?, value, body)
    }
}

/// The owner's wish to leave: from here on the unbonding time runs.
///
/// # Errors
/// `CellError` never in practice.
pub fn unbond(stake: &TonAddress) -> Result<Transfer, CellError> {
    Transfer::to_contract(stake, MESSAGE_VALUE, operation(OP_UNBOND)?)
}

/// After the unbonding time: everything goes to the owner; anyone may send it.
///
/// # Errors
/// `CellError` never in practice.
pub fn withdraw(stake: &TonAddress) -> Result<Transfer, CellError> {
    Transfer::to_contract(stake, MESSAGE_VALUE, operation(OP_WITHDRAW)?)
}

/// How a stake stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing is staked.
    Empty,
    /// It stays, and can be taken.
    Bonded,
    /// It leaves at a time, and can be taken until it has left.
    Unbonding {
        /// Unix seconds from which anyone may send [`withdraw`].
        release_at: u32,
    },
    /// It was taken; the contract takes no stake again.
    Slashed {
        /// Unix seconds.
        at: u32,
    },
}

/// What the contract stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StakeState {
    /// Coins that can be taken.
    pub staked: Nano,
    /// First second at which an unbonding stake may leave; 0 while it stays.
    pub release_at: u32,
    /// When it was taken; 0 while it was not.
    pub slashed_at: u32,
    /// What it is about.
    pub terms: StakeTerms,
}

impl StakeState {
    /// Reads the contract's account.
    ///
    /// # Errors
    /// `OtherCode` when no ProviderStake lives there, `Malformed` for another layout.
    pub fn of_account(account: &Account) -> Result<Self, ChainError> {
        let data = account.data_under(&code::STAKE)?;
        let data = data.ok_or(ChainError::OtherCode)?;
        Self::parse(data).map_err(|_| ChainError::Malformed { what: "stake" })
    }

    /// Reads the contract's data cell.
    ///
    /// # Errors
    /// `Malformed` for any other layout.
    pub fn parse(data: &Cell) -> Result<Self, CellError> {
        let mut slice = data.as_slice().map_err(CellError::parsing)?;
        let staked = cells::load_coins(&mut slice)?;
        let release_at = slice.load_u32().map_err(CellError::parsing)?;
        let slashed_at = slice.load_u32().map_err(CellError::parsing)?;
        let terms = load_terms(&mut slice)?;
        cells::finish(&slice)?;
        Ok(Self {
            staked,
            release_at,
            slashed_at,
            terms,
        })
    }

    /// How it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match (self.slashed_at, self.release_at) {
            (0, 0) if self.staked == Nano::ZERO => Standing::Empty,
            (0, 0) => Standing::Bonded,
            (0, release_at) => Standing::Unbonding { release_at },
            (at, _) => Standing::Slashed { at },
        }
    }
}

fn load_terms(slice: &mut CellSlice<'_>) -> Result<StakeTerms, CellError> {
    let provider_key = ProviderKey(slice.load_u256().map_err(CellError::parsing)?.0);
    let unbonding = slice.load_u32().map_err(CellError::parsing)?;
    let grace = slice.load_u32().map_err(CellError::parsing)?;
    let parties = slice.load_reference_cloned().map_err(CellError::parsing)?;
    let mut parties = parties.as_slice().map_err(CellError::parsing)?;
    let terms = StakeTerms {
        owner: cells::load_address(&mut parties)?,
        registry: cells::load_address(&mut parties)?,
        sink: cells::load_address(&mut parties)?,
        provider_key,
        unbonding,
        grace,
    };
    cells::finish(&parties)?;
    Ok(terms)
}
