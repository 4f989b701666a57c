//! A block's header, as far as proofs need it, and the state that the block leaves behind.
//!
//! Layouts: `block`, `block_info`, `shard_ident`, `block_extra`, `masterchain_block_extra` and
//! `ConfigParams` of `crypto/block/block.tlb` in ton-blockchain/ton.

use protocol::ton::NetworkId;
use tycho_types::cell::{Cell, CellSlice, CellType, Load as _};
use tycho_types::models::CurrencyCollection;

use super::chain::TrustedBlock;
use super::merkle::{finish, ordinary, reading, tree};
use super::{BlockId, Part, ProofError, RootHash};

const BLOCK: u32 = 0x11ef_55aa;
const BLOCK_INFO: u32 = 0x9bc7_a987;
const BLOCK_EXTRA: u32 = 0x4a33_f6fd;
const MASTERCHAIN_EXTRA: u16 = 0xcca5;
/// References of a block, in order: header, value flow, state update, extra.
const REFERENCES: u8 = 4;
/// Bits of a Merkle update: kind, two hashes, two depths.
const UPDATE_BITS: u16 = 8 + 2 * (256 + 16);

/// A block that a proof shows.
#[derive(Debug)]
pub(super) struct ShownBlock {
    pub(super) network: NetworkId,
    pub(super) workchain: i32,
    pub(super) shard: u64,
    pub(super) seqno: u32,
    pub(super) time: u32,
    pub(super) key_block: bool,
    pub(super) previous_key_block: u32,
    update: Cell,
    extra: Cell,
}

impl ShownBlock {
    /// Reads the tree of a proof.
    pub(super) fn read(tree: &Cell) -> Result<Self, ProofError> {
        let mut block = ordinary(tree, Part::Block)?;
        let bad = reading(Part::Block);
        if block.load_u32().map_err(&bad)? != BLOCK || block.size_refs() != REFERENCES {
            return Err(ProofError::Layout(Part::Block));
        }
        let network = NetworkId(block.load_u32().map_err(&bad)?.cast_signed());
        let info = block.load_reference_cloned().map_err(&bad)?;
        block.load_reference().map_err(&bad)?; // value flow
        let update = block.load_reference_cloned().map_err(&bad)?;
        let extra = block.load_reference_cloned().map_err(&bad)?;
        finish(&block, Part::Block)?;
        let header = Header::read(&info)?;
        Ok(Self {
            network,
            workchain: header.workchain,
            shard: header.shard,
            seqno: header.seqno,
            time: header.time,
            key_block: header.key_block,
            previous_key_block: header.previous_key_block,
            update,
            extra,
        })
    }

    /// Whether it stands where `id` says.
    pub(super) fn stands_at(&self, id: &BlockId) -> bool {
        self.workchain == id.workchain && self.shard == id.shard && self.seqno == id.seqno
    }

    /// Hash of the state after the block.
    pub(super) fn state(&self) -> Result<RootHash, ProofError> {
        let part = Part::StateUpdate;
        match self.update.cell_type() {
            CellType::MerkleUpdate => {}
            CellType::PrunedBranch => return Err(ProofError::Withheld(part)),
            CellType::Ordinary | CellType::LibraryReference | CellType::MerkleProof => {
                return Err(ProofError::Layout(part));
            }
        }
        let mut update = self.update.as_slice_allow_exotic();
        if update.size_bits() != UPDATE_BITS {
            return Err(ProofError::Layout(part));
        }
        // The data of the cell: it is under the block's hash, whatever hangs below it.
        update.skip_first(8 + 256, 0).map_err(reading(part))?;
        update
            .load_u256()
            .map(|hash| RootHash(hash.0))
            .map_err(reading(part))
    }

    /// Root of the configuration, of a key block.
    pub(super) fn configuration(&self) -> Result<Cell, ProofError> {
        let part = Part::Configuration;
        if !self.key_block || self.workchain != BlockId::MASTERCHAIN {
            return Err(ProofError::NoKeyBlock);
        }
        let mut extra = ordinary(&self.extra, part)?;
        let bad = reading(part);
        if extra.load_u32().map_err(&bad)? != BLOCK_EXTRA {
            return Err(ProofError::Layout(part));
        }
        // Messages in and out, blocks of accounts; then a seed and who made the block.
        extra.skip_first(256 + 256, 3).map_err(&bad)?;
        if !extra.load_bit().map_err(&bad)? {
            return Err(ProofError::Layout(part));
        }
        let custom = extra.load_reference_cloned().map_err(&bad)?;
        finish(&extra, part)?;
        let mut custom = ordinary(&custom, part)?;
        if custom.load_u16().map_err(&bad)? != MASTERCHAIN_EXTRA
            || !custom.load_bit().map_err(&bad)?
        {
            return Err(ProofError::Layout(part));
        }
        skip_shards_and_fees(&mut custom).map_err(&bad)?;
        custom.load_reference().map_err(&bad)?; // signatures of the block before, minted coins
        custom.skip_first(256, 0).map_err(&bad)?; // address of the configuration's contract
        let configuration = custom.load_reference_cloned().map_err(&bad)?;
        finish(&custom, part)?;
        Ok(configuration)
    }
}

/// A dictionary of shards, then one of fees with its sum, which is two collections of currencies.
fn skip_shards_and_fees(slice: &mut CellSlice<'_>) -> Result<(), tycho_types::error::Error> {
    for _ in ["shards", "fees"] {
        if slice.load_bit()? {
            slice.load_reference()?;
        }
    }
    for _ in ["fees", "created"] {
        let _sum = CurrencyCollection::load_from(slice)?;
    }
    Ok(())
}

/// The header of a block, with what its root has beside it.
#[derive(Debug)]
pub(crate) struct ShownHeader {
    pub(crate) time: u32,
    /// Nothing of it is pruned.
    pub(crate) header: Cell,
    /// Value flow, state update, extra; pruned or not.
    pub(crate) others: Vec<Cell>,
}

impl ShownHeader {
    /// Reads a proof of this very masterchain block of this network.
    pub(crate) fn read(network: NetworkId, id: &BlockId, proof: &[u8]) -> Result<Self, ProofError> {
        let block = TrustedBlock::pin(network, *id)?;
        let tree = tree(proof, &id.root, Part::Block)?;
        let shown = block.shown_by(&tree)?;
        let mut references = (0..REFERENCES).filter_map(|at| tree.reference_cloned(at));
        let header = references.next().ok_or(ProofError::Layout(Part::Block))?;
        if !header.level_mask().is_empty() {
            return Err(ProofError::Withheld(Part::Header));
        }
        Ok(Self {
            time: shown.time,
            header,
            others: references.collect(),
        })
    }
}

struct Header {
    workchain: i32,
    shard: u64,
    seqno: u32,
    time: u32,
    key_block: bool,
    previous_key_block: u32,
}

impl Header {
    fn read(info: &Cell) -> Result<Self, ProofError> {
        let mut info = ordinary(info, Part::Header)?;
        Self::load(&mut info)
            .map_err(reading(Part::Header))?
            .ok_or(ProofError::Layout(Part::Header))
    }

    /// Up to the last member that is used; what follows depends on flags and is not needed.
    fn load(info: &mut CellSlice<'_>) -> Result<Option<Self>, tycho_types::error::Error> {
        if info.load_u32()? != BLOCK_INFO {
            return Ok(None);
        }
        info.skip_first(32, 0)?; // version
        let marks = info.load_u8()?;
        info.skip_first(8, 0)?; // flags
        let seqno = info.load_u32()?;
        info.skip_first(32, 0)?; // vertical height
        let Some((workchain, shard)) = load_shard(info)? else {
            return Ok(None);
        };
        let time = info.load_u32()?;
        // First and last logical time, hash of the validators, their session, least masterchain
        // block that is referred to.
        info.skip_first(64 + 64 + 32 + 32 + 32, 0)?;
        Ok(Some(Self {
            workchain,
            shard,
            seqno,
            time,
            key_block: marks & 0b10 != 0,
            previous_key_block: info.load_u32()?,
        }))
    }
}

/// `shard_ident`: workchain, and the prefix with the bit after it set. `None` for another layout.
pub(super) fn load_shard(
    slice: &mut CellSlice<'_>,
) -> Result<Option<(i32, u64)>, tycho_types::error::Error> {
    if slice.load_small_uint(2)? != 0 {
        return Ok(None);
    }
    let bits = u32::from(slice.load_small_uint(6)?);
    let workchain = slice.load_u32()?.cast_signed();
    let prefix = slice.load_u64()?;
    // At most 60 bits, and nothing after them.
    let Some(mark) = BlockId::WHOLE.checked_shr(bits).filter(|_| bits <= 60) else {
        return Ok(None);
    };
    let below = mark | mark.wrapping_sub(1);
    Ok((prefix & below == 0).then_some((workchain, prefix | mark)))
}
