//! What `tolk/stake.tolk` takes a masterchain block for, held against a block of another library's
//! making: where the header's members lie, and how the root's hash follows from its references.
//! `docs/spec/stake.md` §5.
#![allow(
    clippy::unwrap_used,
    clippy::tests_outside_test_module,
    reason = "tests state claims; a panic is the failure"
)]

use sha2::{Digest as _, Sha256};
use tycho_types::cell::{Cell, CellBuilder, Lazy, LazyExotic};
use tycho_types::merkle::MerkleUpdate;
use tycho_types::models::{Block, BlockInfo, ShardIdent};

const NETWORK: i32 = -7357;
const SEQNO: u32 = 777_000;
const TIME: u32 = 1_795_000_000;

fn cell(depth: u8) -> Cell {
    (0..depth).fold(Cell::default(), |below, level| {
        let mut builder = CellBuilder::new();
        builder.store_u8(level).unwrap();
        builder.store_reference(below).unwrap();
        builder.build().unwrap()
    })
}

fn block() -> Block {
    let info = BlockInfo {
        key_block: true,
        seqno: SEQNO,
        shard: ShardIdent::MASTERCHAIN,
        gen_utime: TIME,
        ..BlockInfo::default()
    };
    Block {
        global_id: NETWORK,
        info: Lazy::new(&info).unwrap(),
        value_flow: Lazy::from_raw(cell(3)).unwrap(),
        state_update: LazyExotic::new(&MerkleUpdate::default()).unwrap(),
        out_msg_queue_updates: None,
        extra: Lazy::from_raw(cell(5)).unwrap(),
    }
}

#[test]
fn number_workchain_and_time_lie_where_the_contract_reads_them() {
    let root = CellBuilder::build_from(block()).unwrap();
    let header = root.reference_cloned(0).unwrap();
    let mut slice = header.as_slice().unwrap();
    assert_eq!(slice.load_u32().unwrap(), 0x9bc7_a987);
    slice.skip_first(32 + 8 + 8, 0).unwrap();
    assert_eq!(slice.load_u32().unwrap(), SEQNO);
    slice.skip_first(32 + 8, 0).unwrap();
    assert_eq!(slice.load_u32().unwrap().cast_signed(), -1);
    slice.skip_first(64, 0).unwrap();
    assert_eq!(slice.load_u32().unwrap(), TIME);
}

#[test]
fn the_root_s_hash_is_over_descriptors_data_depths_and_hashes() {
    let root = CellBuilder::build_from(block()).unwrap();
    assert_eq!(root.reference_count(), 4);
    let mut whole = Sha256::new();
    whole.update([0x04, 0x10]);
    whole.update(0x11ef_55aa_u32.to_be_bytes());
    whole.update(NETWORK.to_be_bytes());
    let references: Vec<Cell> = (0..4)
        .map(|at| root.reference_cloned(at).unwrap())
        .collect();
    for reference in &references {
        whole.update(reference.depth(0).to_be_bytes());
    }
    for reference in &references {
        whole.update(reference.hash(0).0);
    }
    assert_eq!(root.repr_hash().0, <[u8; 32]>::from(whole.finalize()));
}
