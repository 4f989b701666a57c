//! Every transaction of every scenario, done again by another virtual machine: the scenarios run in
//! the official emulator (C++), which recorded them; here tycho-executor (Rust) does them.
//!
//! Compared: the whole transaction and the whole account after it, by hash. Five things that the
//! two write down differently are taken out of both sides first, with their reasons at
//! [`without_labels`] and [`without_index_of_storage`]. Not compared: getters, external messages.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::tests_outside_test_module,
    reason = "tests state claims; a panic is the failure"
)]

mod traces;

use std::collections::BTreeSet;
use std::path::Path;

use traces::{Recorded, again, recorded};
use tycho_types::cell::{CellBuilder, HashBytes, Lazy};
use tycho_types::models::{
    Account, AccountState, BouncePhase, ComputePhase, OptionalAccount, ShardAccount, StorageExtra,
    Transaction, TxInfo,
};
use tycho_types::num::Tokens;

/// Two labels that one machine sets and the other does not: whether the message's own state was
/// used, and which action failed first. Two that they set differently: of a bounce that the value
/// left cannot pay for, C++ notes its price and Rust what is lacking; of actions that failed, C++
/// notes the fees of messages before the failing one. Nothing of that is sent or charged. And the
/// account's hash, which is compared by itself.
fn without_labels(mut transaction: Transaction) -> HashBytes {
    let mut info = transaction.load_info().unwrap();
    let TxInfo::Ordinary(ordinary) = &mut info else {
        panic!("not an ordinary transaction");
    };
    if let ComputePhase::Executed(phase) = &mut ordinary.compute_phase {
        phase.msg_state_used = false;
        phase.account_activated = false;
    }
    if let Some(phase) = &mut ordinary.action_phase {
        phase.result_arg = None;
        if !phase.success {
            phase.total_fwd_fees = None;
        }
    }
    if let Some(BouncePhase::NoFunds(phase)) = &mut ordinary.bounce_phase {
        phase.req_fwd_fees = Tokens::ZERO;
    }
    transaction.info = Lazy::new(&info).unwrap();
    let mut update = transaction.state_update.load().unwrap();
    update.old = HashBytes::ZERO;
    update.new = HashBytes::ZERO;
    transaction.state_update = Lazy::new(&update).unwrap();
    *CellBuilder::build_from(&transaction).unwrap().repr_hash()
}

/// The C++ node keeps, with accounts of more than 25 cells, the hash of an index over their cells;
/// it changes no fee. The Rust one does not keep it.
fn without_index_of_storage(shard: &ShardAccount) -> HashBytes {
    let mut account: Account = shard.load_account().unwrap().unwrap();
    account.storage_stat.storage_extra = StorageExtra::None;
    let account = OptionalAccount(Some(account));
    *CellBuilder::build_from(&account).unwrap().repr_hash()
}

fn executed(transaction: &Transaction) -> (i32, u64) {
    match transaction.load_info().unwrap() {
        TxInfo::Ordinary(info) => match info.compute_phase {
            ComputePhase::Executed(phase) => (phase.exit_code, phase.gas_used.into_inner()),
            ComputePhase::Skipped(_) => panic!("the code ran in the emulator"),
        },
        TxInfo::TickTock(_) => panic!("not an ordinary transaction"),
    }
}

fn sent(transaction: &Transaction) -> Vec<HashBytes> {
    let messages = transaction.out_msgs.values();
    messages.map(|cell| *cell.unwrap().repr_hash()).collect()
}

#[test]
fn two_virtual_machines_agree_on_every_transaction_of_every_scenario() {
    let Recorded { traces, configs } = recorded();
    let (mut exits, mut whole) = (BTreeSet::new(), 0_usize);
    for trace in &traces {
        let number = trace.number;
        let wanted = &trace.transaction;
        let (got, after) = again(
            trace,
            &trace.before,
            &configs[usize::from(trace.since_2026)],
        );
        let (exit, gas) = executed(wanted);
        assert_eq!(executed(&got), (exit, gas), "exit and gas of {number}");
        assert_eq!(got.total_fees, wanted.total_fees, "fees of {number}");
        assert_eq!(sent(&got), sent(wanted), "messages of {number}");
        let of_account = without_index_of_storage(&after);
        let recorded_account = without_index_of_storage(&trace.after);
        assert_eq!(of_account, recorded_account, "account after {number}");
        let update = (got.state_update.load(), wanted.state_update.load());
        whole += usize::from(update.0.unwrap() == update.1.unwrap());
        let recorded = without_labels(wanted.clone());
        assert_eq!(without_labels(got), recorded, "transaction {number}");
        exits.insert(exit);
    }
    assert!(traces.len() > 500, "{} transactions", traces.len());
    assert!(
        whole > traces.len() / 2,
        "{whole} with equal hashes of state"
    );
    // Success, and every refusal that the contracts know.
    let mut refusals: BTreeSet<i32> = [0, 9, 0xffff].into();
    refusals.extend((101..=123).chain(201..=214).chain(301..=321));
    let missing: Vec<_> = refusals.difference(&exits).collect();
    assert!(missing.is_empty(), "no scenario ends with {missing:?}");
}

/// The recording is of the committed code: after a change of a contract it must be made again.
#[test]
fn what_was_recorded_ran_the_committed_code() {
    let mut codes = BTreeSet::new();
    for trace in recorded().traces {
        let account = trace.after.load_account().unwrap().unwrap();
        if let AccountState::Active(state) = account.state {
            codes.insert(state.code.unwrap().repr_hash().0);
        }
    }
    for contract in ["channel", "jetton-channel", "registry", "stake"] {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let path = here.join("compiled").join(format!("{contract}.hash"));
        let hash = std::fs::read_to_string(path).unwrap();
        let hash: HashBytes = hash.trim().parse().unwrap();
        assert!(codes.remove(&hash.0), "{contract}: run `npm run traces`");
    }
    assert!(codes.is_empty(), "other code was recorded");
}
