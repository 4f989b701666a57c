//! An account's state, bound to a trusted block.
//!
//! Layouts: `shard_state`, `masterchain_state_extra`, `ShardHashes`, `shard_descr`,
//! `shard_descr_new`, `ShardAccounts` of `crypto/block/block.tlb` in ton-blockchain/ton.

use protocol::nano::Nano;
use protocol::ton::{NetworkId, TonAddress};
use tycho_types::cell::{Cell, CellBuilder, CellSlice, HashBytes, Load as _};
use tycho_types::dict::RawDict;
use tycho_types::error::Error;
use tycho_types::models::{self, CurrencyCollection, OptionalAccount};

use super::chain::TrustedBlock;
use super::header::{ShownBlock, load_shard};
use super::merkle::{finish, ordinary, pair, proven, reading, single};
use super::{BlockId, Part, ProofError, RootHash};
use crate::account::{Account, AccountState};

const STATE: u32 = 0x9023_afe2;
const MASTERCHAIN_STATE_EXTRA: u16 = 0xcc26;
const SHARD: u8 = 0xb;
const NEWER_SHARD: u8 = 0xa;
/// A workchain is split at most so often.
const MAX_SPLITS: u8 = 60;

/// What a server claims of one account, as bags of cells.
#[derive(Debug, Clone, Copy)]
pub struct AccountProof<'a> {
    /// Masterchain block and state, down to the shard that has the account; not looked at for an
    /// account of the masterchain.
    pub shard: &'a [u8],
    /// The shard's block and state, down to the account's hash.
    pub account: &'a [u8],
    /// The account; empty when there is none.
    pub state: &'a [u8],
}

/// An account that a trusted block's state holds. Made by [`TrustedBlock::account`] alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenAccount {
    account: Account,
    block: BlockId,
}

impl ProvenAccount {
    /// The account; its `chain_time` is that of the masterchain block.
    #[must_use]
    pub const fn account(&self) -> &Account {
        &self.account
    }

    /// The account alone.
    #[must_use]
    pub fn into_account(self) -> Account {
        self.account
    }

    /// The masterchain block that it was read at.
    #[must_use]
    pub const fn block(&self) -> &BlockId {
        &self.block
    }

    /// Whether the block is at most `seconds` old at `now`, both by the caller's clock in unix
    /// seconds. One from the future is as young as can be: validators' clocks run ahead too.
    #[must_use]
    pub fn is_fresh(&self, now: u64, seconds: u64) -> bool {
        now.saturating_sub(u64::from(self.account.chain_time)) <= seconds
    }
}

impl TrustedBlock {
    /// The account at an address in the state after this block; one that nobody ever paid is
    /// uninitialized and empty.
    ///
    /// # Errors
    /// The first refusal, in the order of `docs/spec/chain-proofs.md` §4.
    pub fn account(
        &self,
        address: &TonAddress,
        proof: &AccountProof<'_>,
    ) -> Result<ProvenAccount, ProofError> {
        let (state, time) = match address.workchain {
            0 => {
                let (block, state) = pair(proof.shard, Part::Shards)?;
                let masterchain = self.shown_by(&proven(&block, self.root(), Part::Block)?)?;
                let state = self.state_after(&masterchain, &state)?;
                let shard = state.shard_of(address)?;
                let (block, below) = pair(proof.account, Part::Account)?;
                let block = ShownBlock::read(&proven(&block, &shard, Part::Block)?)?;
                self.of_this_network(block.network)?;
                (self.state_after(&block, &below)?, masterchain.time)
            }
            -1 => {
                let (block, state) = pair(proof.account, Part::Account)?;
                let masterchain = self.shown_by(&proven(&block, self.root(), Part::Block)?)?;
                (self.state_after(&masterchain, &state)?, masterchain.time)
            }
            other => return Err(ProofError::Workchain(other)),
        };
        let account = match state.account_of(address)? {
            Some(entry) => entry.read(proof.state, time)?,
            None if proof.state.is_empty() => nobody(time),
            None => return Err(ProofError::OtherAccount),
        };
        Ok(ProvenAccount {
            account,
            block: *self.id(),
        })
    }

    fn state_after(&self, block: &ShownBlock, state: &Cell) -> Result<State, ProofError> {
        let state = State::read(&proven(state, &block.state()?, Part::State)?)?;
        self.of_this_network(state.network)?;
        Ok(state)
    }
}

/// What a state of a shard or of the masterchain holds.
struct State {
    network: NetworkId,
    accounts: Cell,
    extra: Option<Cell>,
}

impl State {
    fn read(tree: &Cell) -> Result<Self, ProofError> {
        let mut state = ordinary(tree, Part::State)?;
        Self::load(&mut state)
            .map_err(reading(Part::State))?
            .ok_or(ProofError::Layout(Part::State))
    }

    /// `None` for another layout.
    fn load(state: &mut CellSlice<'_>) -> Result<Option<Self>, Error> {
        if state.load_u32()? != STATE {
            return Ok(None);
        }
        let network = NetworkId(state.load_u32()?.cast_signed());
        if load_shard(state)?.is_none() {
            return Ok(None);
        }
        // Height, vertical height, time, logical time, least masterchain block; queue; split soon.
        state.skip_first(32 + 32 + 32 + 64 + 32 + 1, 1)?;
        let accounts = state.load_reference_cloned()?;
        state.load_reference()?; // load, balances, libraries
        let extra = match state.load_bit()? {
            true => Some(state.load_reference_cloned()?),
            false => None,
        };
        let whole = state.is_data_empty() && state.is_refs_empty();
        Ok(whole.then_some(Self {
            network,
            accounts,
            extra,
        }))
    }

    /// Root hash of the last block of the shard that has an address.
    fn shard_of(&self, address: &TonAddress) -> Result<RootHash, ProofError> {
        let part = Part::Shards;
        let bad = reading(part);
        let extra = self.extra.as_ref().ok_or(ProofError::Layout(part))?;
        let mut extra = ordinary(extra, part)?;
        if extra.load_u16().map_err(&bad)? != MASTERCHAIN_STATE_EXTRA
            || !extra.load_bit().map_err(&bad)?
        {
            return Err(ProofError::Layout(part));
        }
        let workchains = RawDict::<32>::from(Some(extra.load_reference_cloned().map_err(&bad)?));
        let key =
            CellBuilder::build_from(i32::from(address.workchain).cast_unsigned()).map_err(&bad)?;
        let found = workchains.get(ordinary(&key, part)?).map_err(&bad)?;
        let mut found = found.ok_or(ProofError::Layout(part))?;
        let tree = found.load_reference_cloned().map_err(&bad)?;
        let key = CellBuilder::build_from(HashBytes(address.account.0)).map_err(&bad)?;
        let mut path = ordinary(&key, part)?;
        let mut shards = ordinary(&tree, part)?;
        for _ in 0..=MAX_SPLITS {
            if !shards.load_bit().map_err(&bad)? {
                let shard = load_shard_record(&mut shards).map_err(&bad)?;
                return shard.ok_or(ProofError::Layout(part));
            }
            let side = u8::from(path.load_bit().map_err(&bad)?);
            shards = shards.get_reference_as_slice(side).map_err(&bad)?;
        }
        Err(ProofError::Layout(part))
    }

    /// What the dictionary has under an address.
    fn account_of(&self, address: &TonAddress) -> Result<Option<Entry>, ProofError> {
        let part = Part::Accounts;
        let bad = reading(part);
        // Pruned, it is not an empty dictionary.
        let mut accounts = ordinary(&self.accounts, part)?;
        if !accounts.load_bit().map_err(&bad)? {
            return Ok(None);
        }
        let root = accounts.load_reference_cloned().map_err(&bad)?;
        let key = CellBuilder::build_from(HashBytes(address.account.0)).map_err(&bad)?;
        // Nodes carry sums, after a fork's references and before a leaf's value.
        let found = RawDict::<256>::from(Some(root))
            .get(ordinary(&key, part)?)
            .map(|found| found.map(|mut found| Entry::load(&mut found)))
            .map_err(&bad)?;
        found.transpose().map_err(&bad)
    }
}

/// `None` for another layout. The rest of the record is not used.
fn load_shard_record(record: &mut CellSlice<'_>) -> Result<Option<RootHash>, Error> {
    if !matches!(record.load_small_uint(4)?, SHARD | NEWER_SHARD) {
        return Ok(None);
    }
    // Height, height of the masterchain, first and last logical time.
    record.skip_first(32 + 32 + 64 + 64, 0)?;
    Ok(Some(RootHash(record.load_u256()?.0)))
}

/// An account's entry in the dictionary.
struct Entry {
    hash: HashBytes,
    last_lt: u64,
}

impl Entry {
    fn load(leaf: &mut CellSlice<'_>) -> Result<Self, Error> {
        leaf.skip_first(5, 0)?; // how far the account may be split
        let _balance = CurrencyCollection::load_from(leaf)?;
        let account = leaf.load_reference()?;
        leaf.skip_first(256, 0)?; // hash of its last transaction
        let last_lt = leaf.load_u64()?;
        if !leaf.is_data_empty() || !leaf.is_refs_empty() {
            return Err(Error::InvalidData);
        }
        Ok(Self {
            // Pruned or not, that of the original.
            hash: *account.hash(0),
            last_lt,
        })
    }

    fn read(&self, state: &[u8], time: u32) -> Result<Account, ProofError> {
        let part = Part::Account;
        if state.is_empty() {
            return Err(ProofError::OtherAccount);
        }
        let cell = single(state, part)?;
        // A pruned branch anywhere below raises the level; its bytes would be read as the
        // contract's, under the same hash.
        if cell.is_exotic() || !cell.level_mask().is_empty() {
            return Err(ProofError::Withheld(part));
        }
        if cell.repr_hash() != &self.hash {
            return Err(ProofError::OtherAccount);
        }
        let mut slice = ordinary(&cell, part)?;
        let OptionalAccount(account) =
            OptionalAccount::load_from(&mut slice).map_err(reading(part))?;
        finish(&slice, part)?;
        let Some(account) = account else {
            return Ok(nobody(time));
        };
        let balance = Nano::new(account.balance.tokens.into_inner());
        Ok(Account {
            balance: balance.map_err(|_| ProofError::Layout(part))?,
            state: match account.state {
                models::AccountState::Uninit => AccountState::Uninitialized,
                models::AccountState::Frozen(_) => AccountState::Frozen,
                // Without code or data it has none that anybody looks for.
                models::AccountState::Active(state) => AccountState::Active {
                    code: state.code.unwrap_or_default(),
                    data: state.data.unwrap_or_default(),
                },
            },
            last_lt: self.last_lt,
            chain_time: time,
        })
    }
}

/// An account that nobody ever paid.
fn nobody(chain_time: u32) -> Account {
    Account {
        balance: Nano::from_u64(0),
        state: AccountState::Uninitialized,
        last_lt: 0,
        chain_time,
    }
}
