//! What `npm run traces` recorded, and how tycho-executor does it again.

use std::path::Path;

use tycho_executor::{Executor, ExecutorParams, ParsedConfig};
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellBuilder, CellSlice, HashBytes};
use tycho_types::dict::{Dict, RawDict};
use tycho_types::models::{
    BlockchainConfig, BlockchainConfigParams, MsgInfo, ShardAccount, StdAddr, Transaction,
};

const WORKCHAINS: u32 = 12;
const WORKCHAIN_V1: u8 = 0xa6;
const WORKCHAIN_V2: u8 = 0xa7;
/// What the second form of a workchain's description has behind the first: times of splits.
const SPLIT_TIMES: u16 = 140;

/// One transaction of a scenario.
pub(crate) struct Trace {
    pub(crate) number: u32,
    pub(crate) since_2026: bool,
    pub(crate) before: ShardAccount,
    pub(crate) transaction: Transaction,
    pub(crate) after: ShardAccount,
}

/// All of them, and the configurations of both price sets.
pub(crate) struct Recorded {
    pub(crate) traces: Vec<Trace>,
    pub(crate) configs: [BlockchainConfig; 2],
}

fn fixture(name: &str) -> Cell {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = here.join("../tests/fixtures/traces").join(name);
    Boc::decode(std::fs::read(path).unwrap()).unwrap()
}

fn maybe_reference(slice: &mut CellSlice<'_>) -> Option<Cell> {
    let present = slice.load_bit().unwrap();
    present.then(|| slice.load_reference_cloned().unwrap())
}

pub(crate) fn recorded() -> Recorded {
    let root = fixture("scenarios.boc");
    let mut slice = root.as_slice().unwrap();
    let list: Dict<u32, Cell> = Dict::from_raw(maybe_reference(&mut slice));
    let configs = [(); 2].map(|()| config(maybe_reference(&mut slice).unwrap()));
    let traces = list.iter().map(|entry| {
        let (number, cell) = entry.unwrap();
        let mut trace = cell.as_slice().unwrap();
        let since_2026 = trace.load_bit().unwrap();
        let [before, transaction, after] = [(); 3].map(|()| trace.load_reference_cloned().unwrap());
        Trace {
            number,
            since_2026,
            before: before.parse().unwrap(),
            transaction: transaction.parse().unwrap(),
            after: after.parse().unwrap(),
        }
    });
    Recorded {
        traces: traces.collect(),
        configs,
    }
}

/// The emulator's configuration. `tycho-types` reads only the first form of a workchain's
/// description; nothing here depends on what the second one adds.
fn config(root: Cell) -> BlockchainConfig {
    let mut params: Dict<u32, Cell> = Dict::from_raw(Some(root));
    let workchains = params.get(WORKCHAINS).unwrap().unwrap();
    let mut slice = workchains.as_slice().unwrap();
    let second = RawDict::<32>::from(maybe_reference(&mut slice));
    let mut first = RawDict::<32>::from(None);
    for entry in second.iter() {
        let (key, mut value) = entry.unwrap();
        assert_eq!(value.load_u8().unwrap(), WORKCHAIN_V2);
        let kept = value.size_bits() - SPLIT_TIMES;
        let mut description = CellBuilder::new();
        description.store_u8(WORKCHAIN_V1).unwrap();
        description
            .store_slice(value.load_prefix(kept, value.size_refs()).unwrap())
            .unwrap();
        let description = description.build().unwrap();
        first
            .set(key.as_data_slice(), description.as_slice().unwrap())
            .unwrap();
    }
    let mut workchains = CellBuilder::new();
    workchains.store_bit_one().unwrap();
    workchains
        .store_reference(first.into_root().unwrap())
        .unwrap();
    params.set(WORKCHAINS, workchains.build().unwrap()).unwrap();
    BlockchainConfig {
        address: HashBytes([0x55; 32]),
        params: BlockchainConfigParams::from_raw(params.into_root().unwrap()),
    }
}

/// What this machine makes of the recorded message on an account.
pub(crate) fn again(
    trace: &Trace,
    before: &ShardAccount,
    config: &BlockchainConfig,
) -> (Transaction, ShardAccount) {
    let recorded = &trace.transaction;
    let parsed = ParsedConfig::parse(config.clone(), recorded.now).unwrap();
    let params = ExecutorParams {
        block_unixtime: recorded.now,
        block_lt: recorded.lt,
        // When an action fails, nothing is charged for messages before it in the list.
        charge_action_fees_on_fail: false,
        full_body_in_bounced: false,
        strict_extra_currency: true,
        disable_delete_frozen_accounts: true,
        ..ExecutorParams::default()
    };
    let message = recorded.in_msg.clone().unwrap();
    let done = Executor::new(&params, &parsed)
        .with_min_lt(recorded.lt)
        .begin_ordinary(&receiver(recorded), false, message, before)
        .unwrap()
        .commit()
        .unwrap();
    (done.transaction.load().unwrap(), done.new_state)
}

pub(crate) fn receiver(transaction: &Transaction) -> StdAddr {
    match transaction.load_in_msg().unwrap().unwrap().info {
        MsgInfo::Int(info) => info.dst.as_std().unwrap().clone(),
        MsgInfo::ExtIn(_) | MsgInfo::ExtOut(_) => panic!("not an internal message"),
    }
}
