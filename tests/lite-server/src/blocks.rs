//! Blocks of a small network of a test's own: a key block that names validators, a block of the
//! masterchain that they sign, a block of a shard, accounts; and proofs of their parts. Written by
//! the models of `tycho-types`, so that layouts are not the reader's own.
use std::collections::HashSet;
use std::num::NonZeroU16;

use contracts::proof::{BlockId, FileHash, Link, RootHash, Signature, SignatureSet};
use ed25519_dalek::{Signer as _, SigningKey};
use sha2::{Digest as _, Sha256};
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellBuilder, HashBytes, Lazy, LazyExotic, Store};
use tycho_types::dict::{AugDict, Dict};
use tycho_types::merkle::{FilterAction, MerkleFilter, MerkleProof, MerkleUpdate};
use tycho_types::models::{
    Account, AccountState, Block, BlockExtra, BlockInfo, BlockchainConfig, BlockchainConfigParams,
    CurrencyCollection, DepthBalanceInfo, IntAddr, McBlockExtra, McStateExtra, OptionalAccount,
    ShardAccount, ShardDescription, ShardHashes, ShardIdent, ShardStateUnsplit, StateInit, StdAddr,
    ValidatorDescription, ValidatorInfo, ValidatorSet,
};
use tycho_types::num::Tokens;

/// The network's number.
pub const NETWORK: i32 = -7357;
/// Time of the blocks, unless another is asked for: some second of November 2026.
pub const TIME: u32 = 1_795_000_000;
/// Height of the first key block.
pub const KEY_SEQNO: u32 = 100;
/// Height of a block after it.
pub const SEQNO: u32 = 105;

/// A validator's key.
#[must_use]
pub fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

/// A value's cell.
#[must_use]
pub fn cell(value: impl Store) -> Cell {
    CellBuilder::build_from(value).unwrap()
}

/// A block with its name and the state after it.
#[derive(Debug, Clone)]
pub struct Made {
    /// Its name.
    pub id: BlockId,
    /// Its root.
    pub root: Cell,
    /// The state after it.
    pub state: Cell,
}

impl Made {
    fn new(network: i32, info: &BlockInfo, state: Cell, extra: &BlockExtra) -> Self {
        let update = MerkleUpdate {
            old_hash: *Cell::default().repr_hash(),
            new_hash: *state.repr_hash(),
            old_depth: 0,
            new_depth: state.repr_depth(),
            old: Cell::default(),
            new: state.clone(),
        };
        let root = cell(Block {
            global_id: network,
            info: Lazy::new(info).unwrap(),
            value_flow: Lazy::from_raw(tower(3)).unwrap(),
            state_update: LazyExotic::new(&update).unwrap(),
            out_msg_queue_updates: None,
            extra: Lazy::new(extra).unwrap(),
        });
        let file = Sha256::digest(Boc::encode(&root));
        Self {
            id: BlockId {
                workchain: info.shard.workchain(),
                shard: info.shard.prefix(),
                seqno: info.seqno,
                root: RootHash(root.repr_hash().0),
                file: FileHash(file.into()),
            },
            root,
            state,
        }
    }

    /// The header and the state's hash; nothing else.
    pub fn header(&self) -> Cell {
        self.without(&[1, 3])
    }

    /// The header and what a key block holds of the configuration.
    pub fn configuration(&self) -> Cell {
        self.without(&[1])
    }

    /// A proof of the block without these references, and without the states of its update.
    pub fn without(&self, references: &[u8]) -> Cell {
        let mut pruned: Vec<Cell> = references
            .iter()
            .map(|at| self.root.reference_cloned(*at).unwrap())
            .collect();
        pruned.push(self.state.clone());
        proof_without(&self.root, &pruned)
    }
}

/// Cells upon cells, so that a pruned branch is smaller than what it stands for.
pub fn tower(height: u8) -> Cell {
    (0..height).fold(Cell::default(), |below, level| {
        let mut builder = CellBuilder::new();
        builder.store_u8(level).unwrap();
        builder.store_reference(below).unwrap();
        builder.build().unwrap()
    })
}

struct AllBut(HashSet<HashBytes>);

impl MerkleFilter for AllBut {
    fn check(&self, cell: &HashBytes) -> FilterAction {
        if self.0.contains(cell) {
            FilterAction::Skip
        } else {
            FilterAction::Include
        }
    }
}

/// A proof of a tree from which these branches are taken away.
pub fn proof_without(root: &Cell, pruned: &[Cell]) -> Cell {
    let pruned = pruned.iter().map(|cell| *cell.repr_hash()).collect();
    cell(
        MerkleProof::create(root.as_ref(), AllBut(pruned))
            .prune_big_cells(true)
            .build()
            .unwrap(),
    )
}

/// A cell as a bag.
#[must_use]
pub fn bag(root: &Cell) -> Vec<u8> {
    Boc::encode(root)
}

/// A bag of two roots.
#[must_use]
pub fn pair(first: &Cell, second: &Cell) -> Vec<u8> {
    Boc::encode_pair((first, second))
}

/// Who validates: keys and weights, of which the first `main` are the masterchain's.
#[derive(Debug, Clone)]
pub struct Set {
    /// Number of the key, weight.
    pub members: Vec<(u8, u64)>,
    /// How many count.
    pub main: u16,
}

impl Default for Set {
    fn default() -> Self {
        Self {
            members: vec![(1, 10)],
            main: 1,
        }
    }
}

impl Set {
    fn cell(&self) -> Cell {
        let list = self.members.iter().map(|(number, weight)| {
            let adnl_addr = number.is_multiple_of(2).then_some(HashBytes([7; 32]));
            ValidatorDescription {
                public_key: HashBytes(key(*number).verifying_key().to_bytes()),
                weight: *weight,
                adnl_addr,
                mc_seqno_since: 0,
                prev_total_weight: 0,
            }
        });
        cell(ValidatorSet {
            utime_since: TIME - 1000,
            utime_until: TIME + 1000,
            main: NonZeroU16::new(self.main).unwrap(),
            // Not read: the sum of those that count is made anew.
            total_weight: 1,
            list: list.collect(),
        })
    }
}

fn masterchain(seqno: u32, key_block: bool, previous: u32, time: u32) -> BlockInfo {
    BlockInfo {
        key_block,
        seqno,
        shard: ShardIdent::MASTERCHAIN,
        gen_utime: time,
        prev_key_block_seqno: previous,
        ..BlockInfo::default()
    }
}

fn configuration(sets: &[(u32, Cell)]) -> BlockchainConfig {
    let mut parameters = Dict::<u32, Cell>::new();
    for number in [0, 8, 32, 36] {
        parameters.set(number, tower(2)).unwrap();
    }
    for (number, set) in sets {
        parameters.set(*number, set.clone()).unwrap();
    }
    let parameters = cell(parameters).reference_cloned(0).unwrap();
    BlockchainConfig {
        address: HashBytes([5; 32]),
        params: BlockchainConfigParams::from_raw(parameters),
    }
}

/// A key block of the masterchain whose configuration has these sets under these numbers.
pub fn key_block_with(seqno: u32, previous: u32, sets: &[(u32, Cell)]) -> Made {
    let custom = McBlockExtra {
        shards: ShardHashes::default(),
        fees: AugDict::new(),
        prev_block_signatures: Dict::new(),
        recover_create_msg: None,
        mint_msg: None,
        config: Some(configuration(sets)),
    };
    let extra = BlockExtra {
        custom: Some(Lazy::new(&custom).unwrap()),
        ..BlockExtra::default()
    };
    let info = masterchain(seqno, true, previous, TIME);
    Made::new(NETWORK, &info, tower(4), &extra)
}

/// A key block that names these validators.
pub fn key_block(seqno: u32, previous: u32, set: &Set) -> Made {
    key_block_with(seqno, previous, &[(34, set.cell())])
}

/// The validators' cell, to be put under another number.
pub fn set_cell(set: &Set) -> Cell {
    set.cell()
}

/// A block of the masterchain after key block `previous`, with these last blocks of shards.
pub fn block(network: i32, seqno: u32, previous: u32, shards: &[(ShardIdent, Made)]) -> Made {
    block_at(TIME, network, (seqno, previous), shards)
}

/// The same at another time: network; height, and that of the key block; shards.
#[must_use]
pub fn block_at(
    time: u32,
    network: i32,
    (seqno, previous): (u32, u32),
    shards: &[(ShardIdent, Made)],
) -> Made {
    let descriptions: Vec<_> = shards
        .iter()
        .map(|(at, made)| (*at, describe(made)))
        .collect();
    let shards = ShardHashes::from_shards(descriptions.iter().map(|(at, one)| (at, one)));
    let extra = McStateExtra {
        shards: shards.unwrap(),
        config: configuration(&[]),
        validator_info: ValidatorInfo {
            validator_list_hash_short: 0,
            catchain_seqno: 0,
            nx_cc_updated: false,
        },
        prev_blocks: AugDict::new(),
        after_key_block: false,
        last_key_block: None,
        block_create_stats: None,
        global_balance: CurrencyCollection::ZERO,
    };
    let state = ShardStateUnsplit {
        global_id: network,
        seqno,
        gen_utime: time,
        out_msg_queue_info: tower(3),
        custom: Some(Lazy::new(&extra).unwrap()),
        ..ShardStateUnsplit::default()
    };
    let info = masterchain(seqno, false, previous, time);
    Made::new(network, &info, cell(state), &BlockExtra::default())
}

fn describe(made: &Made) -> ShardDescription {
    ShardDescription {
        seqno: made.id.seqno,
        reg_mc_seqno: SEQNO,
        start_lt: 1,
        end_lt: 2,
        root_hash: HashBytes(made.id.root.0),
        file_hash: HashBytes(made.id.file.0),
        before_split: false,
        before_merge: false,
        want_split: false,
        want_merge: false,
        nx_cc_updated: false,
        next_catchain_seqno: 0,
        next_validator_shard: made.id.shard,
        min_ref_mc_seqno: KEY_SEQNO,
        gen_utime: TIME - 5,
        split_merge_at: None,
        fees_collected: CurrencyCollection::ZERO,
        funds_created: CurrencyCollection::ZERO,
    }
}

/// Logical time of an account's last transaction, unless another is asked for.
pub const LAST_LT: u64 = 4_000_001;

/// A block of a shard whose state has these accounts.
pub fn shard_block(network: i32, shard: ShardIdent, accounts: &[([u8; 32], Cell)]) -> Made {
    let accounts = accounts.iter();
    let accounts = accounts.map(|(address, account)| (*address, account.clone(), LAST_LT));
    shard_block_of(network, shard, accounts)
}

/// The same, with the logical time of each account's last transaction.
pub fn shard_block_of(
    network: i32,
    shard: ShardIdent,
    accounts: impl IntoIterator<Item = ([u8; 32], Cell, u64)>,
) -> Made {
    let mut dictionary = AugDict::<HashBytes, DepthBalanceInfo, ShardAccount>::new();
    for (address, account, last_lt) in accounts {
        let entry = ShardAccount {
            account: Lazy::from_raw(account).unwrap(),
            last_trans_hash: HashBytes([9; 32]),
            last_trans_lt: last_lt,
        };
        dictionary
            .set(HashBytes(address), DepthBalanceInfo::default(), entry)
            .unwrap();
    }
    let state = ShardStateUnsplit {
        global_id: network,
        shard_ident: shard,
        seqno: 77,
        gen_utime: TIME - 5,
        out_msg_queue_info: tower(3),
        accounts: Lazy::new(&dictionary).unwrap(),
        ..ShardStateUnsplit::default()
    };
    let info = BlockInfo {
        seqno: 77,
        shard,
        gen_utime: TIME - 5,
        ..BlockInfo::default()
    };
    Made::new(network, &info, cell(state), &BlockExtra::default())
}

/// An account with code and data.
#[must_use]
pub fn account(address: [u8; 32], balance: u128, data: Cell) -> Cell {
    account_of(address, balance, tower(2), data)
}

/// An account that was paid and has no code yet.
#[must_use]
pub fn account_without_code(address: [u8; 32], balance: u128) -> Cell {
    cell_of(address, balance, AccountState::Uninit)
}

/// An account with this code.
#[must_use]
pub fn account_of(address: [u8; 32], balance: u128, code: Cell, data: Cell) -> Cell {
    let init = StateInit {
        code: Some(code),
        data: Some(data),
        ..StateInit::default()
    };
    cell_of(address, balance, AccountState::Active(init))
}

fn cell_of(address: [u8; 32], balance: u128, state: AccountState) -> Cell {
    cell(OptionalAccount(Some(Account {
        address: IntAddr::Std(StdAddr::new(0, HashBytes(address))),
        storage_stat: Default::default(),
        last_trans_lt: 4_000_002,
        balance: CurrencyCollection::from(Tokens::new(balance)),
        state,
    })))
}

/// How a validator is named.
pub fn name_of(number: u8) -> [u8; 32] {
    let mut named = vec![0xc6, 0xb4, 0x13, 0x48];
    named.extend(key(number).verifying_key().to_bytes());
    Sha256::digest(named).into()
}

fn signed(message: &[u8], signers: &[u8]) -> Vec<Signature> {
    let one = |number: &u8| Signature {
        signer: name_of(*number),
        signature: key(*number).sign(message).to_bytes(),
    };
    signers.iter().map(one).collect()
}

/// Signatures of the older form.
pub fn ordinary(block: &BlockId, signers: &[u8]) -> SignatureSet {
    let mut message = vec![0x70, 0x6e, 0x0b, 0xc5];
    message.extend(block.root.0);
    message.extend(block.file.0);
    SignatureSet::Ordinary {
        signatures: signed(&message, signers),
    }
}

/// Bytes of a candidate of the newer consensus.
pub fn candidate(block: &BlockId) -> Vec<u8> {
    let mut candidate = vec![0xdc, 0xbc, 0xf9, 0xe8];
    candidate.extend(block.workchain.to_le_bytes());
    candidate.extend(block.shard.to_le_bytes());
    candidate.extend(block.seqno.to_le_bytes());
    candidate.extend(block.root.0);
    candidate.extend(block.file.0);
    candidate.extend([3; 32]); // hash of what was collated
    candidate
}

/// Signatures of the newer form over a candidate; `vote` is the vote's constructor.
pub fn simplex(candidate: Vec<u8>, vote: u32, signers: &[u8]) -> SignatureSet {
    let (session, slot) = ([8; 32], 12_u32);
    let mut message = vec![0xf8, 0x3d, 0xe3, 0xa8];
    message.extend(session);
    message.push(44);
    message.extend(vote.to_le_bytes());
    message.extend([0x3f, 0xcd, 0x91, 0xb6]);
    message.extend(slot.to_le_bytes());
    message.extend(Sha256::digest(&candidate));
    message.extend([0, 0, 0]);
    SignatureSet::Simplex {
        signatures: signed(&message, signers),
        session,
        slot,
        candidate,
    }
}

/// The link from a key block to a block that `signers` signed.
pub fn link(from: &Made, to: &Made, signers: &[u8]) -> Link {
    Link {
        from: from.id,
        to: to.id,
        header: bag(&to.header()),
        configuration: bag(&from.configuration()),
        signatures: ordinary(&to.id, signers),
    }
}
