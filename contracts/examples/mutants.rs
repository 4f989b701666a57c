//! Does the recorded transactions again with other code: `npm run mutants` calls it.
//!
//!     mutants FOLDER
//!
//! FOLDER holds `<contract>-<number>.boc`; for each it prints the file's stem and the number of
//! the first transaction that ends otherwise than recorded, or `survived`. Otherwise means: another
//! exit code, another success of the actions, other stored data, or a message to somebody else,
//! with another body or flag, or with another value than the difference in fees explains.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    reason = "a tool of the tests: a panic is the failure, its output is its result"
)]

#[path = "../tests/traces/mod.rs"]
mod traces;

use std::collections::HashMap;
use std::path::Path;

use traces::{Recorded, Trace, again, receiver, recorded};
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellBuilder, HashBytes, Lazy};
use tycho_types::models::{
    Account, AccountState, ComputePhase, CurrencyCollection, IntAddr, MsgInfo, OptionalAccount,
    ShardAccount, StateInit, StorageInfo, Transaction, TxInfo,
};

/// What is compared of a transaction.
#[derive(PartialEq, Eq)]
struct Ending {
    exit: Option<i32>,
    acted: bool,
    data: Option<HashBytes>,
}

struct Message {
    to: Option<IntAddr>,
    bounce: (bool, bool),
    value: u128,
    body: HashBytes,
}

/// The account with the contract's code exchanged, when the contract is the one in question. An
/// account that its message deploys is given its first state beforehand.
fn with_code(trace: &Trace, original: HashBytes, code: &Cell) -> Option<ShardAccount> {
    let mut shard = trace.before.clone();
    let account = shard.load_account().unwrap();
    let account = match account {
        Some(account) if matches!(account.state, AccountState::Active(_)) => account,
        other => deployed(trace, other)?,
    };
    let AccountState::Active(mut state) = account.state.clone() else {
        return None;
    };
    if *state.code.as_ref()?.repr_hash() != original {
        return None;
    }
    state.code = Some(code.clone());
    let account = Account {
        state: AccountState::Active(state),
        ..account
    };
    shard.account = Lazy::new(&OptionalAccount(Some(account))).unwrap();
    Some(shard)
}

fn deployed(trace: &Trace, known: Option<Account>) -> Option<Account> {
    let message = trace.transaction.load_in_msg().unwrap().unwrap();
    let state: StateInit = message.init?;
    let empty = Account {
        address: IntAddr::Std(receiver(&trace.transaction)),
        storage_stat: StorageInfo {
            last_paid: trace.transaction.now,
            ..StorageInfo::default()
        },
        last_trans_lt: 0,
        balance: CurrencyCollection::ZERO,
        state: AccountState::Uninit,
    };
    Some(Account {
        state: AccountState::Active(state),
        ..known.unwrap_or(empty)
    })
}

fn ending(transaction: &Transaction, after: &ShardAccount) -> Ending {
    let TxInfo::Ordinary(info) = transaction.load_info().unwrap() else {
        panic!("not an ordinary transaction");
    };
    let exit = match info.compute_phase {
        ComputePhase::Executed(phase) => Some(phase.exit_code),
        ComputePhase::Skipped(_) => None,
    };
    let acted = info.action_phase.is_some_and(|phase| phase.success);
    // What a refused deployment leaves is no state of the contract.
    let done = exit == Some(0) && acted;
    let account = after.load_account().unwrap().filter(|_| done);
    let data = account.and_then(|account| match account.state {
        AccountState::Active(state) => state.data.map(|data| *data.repr_hash()),
        AccountState::Uninit | AccountState::Frozen(_) => None,
    });
    Ending { exit, acted, data }
}

fn sent(transaction: &Transaction) -> Vec<Message> {
    let mut all = Vec::new();
    for message in transaction.iter_out_msgs() {
        let message = message.unwrap();
        let mut body = CellBuilder::new();
        body.store_slice(message.body).unwrap();
        let body = *body.build().unwrap().repr_hash();
        let (to, bounce, value) = match message.info {
            MsgInfo::Int(info) => (
                Some(info.dst),
                (info.bounce, info.bounced),
                info.value.tokens.into_inner(),
            ),
            MsgInfo::ExtIn(_) | MsgInfo::ExtOut(_) => (None, (false, false), 0),
        };
        all.push(Message {
            to,
            bounce,
            value,
            body,
        });
    }
    all
}

/// Whether both ended alike; what gas alone explains is no difference.
fn alike(got: (&Transaction, &ShardAccount), wanted: (&Transaction, &ShardAccount)) -> bool {
    if ending(got.0, got.1) != ending(wanted.0, wanted.1) {
        return false;
    }
    let fees = |of: &Transaction| of.total_fees.tokens.into_inner();
    let tolerance = 2 * fees(got.0).abs_diff(fees(wanted.0));
    let (got, wanted) = (sent(got.0), sent(wanted.0));
    got.len() == wanted.len()
        && got.iter().zip(&wanted).all(|(got, wanted)| {
            got.to == wanted.to
                && got.bounce == wanted.bounce
                && got.body == wanted.body
                && got.value.abs_diff(wanted.value) <= tolerance
        })
}

/// The first transaction that the mutant ends otherwise.
fn killer(recorded: &Recorded, original: HashBytes, code: &Cell) -> Option<u32> {
    recorded.traces.iter().find_map(|trace| {
        let before = with_code(trace, original, code)?;
        let config = &recorded.configs[usize::from(trace.since_2026)];
        let (got, after) = again(trace, &before, config);
        let wanted = (&trace.transaction, &trace.after);
        (!alike((&got, &after), wanted)).then_some(trace.number)
    })
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_string_lossy().into_owned()
}

fn main() {
    let folder = std::env::args().nth(1).expect("a folder of mutants");
    let compiled = Path::new(env!("CARGO_MANIFEST_DIR")).join("compiled");
    let code_of = |path: &Path| Boc::decode(std::fs::read(path).unwrap()).unwrap();
    let mut originals = HashMap::new();
    for contract in ["channel", "jetton-channel", "registry", "stake"] {
        let code = code_of(&compiled.join(format!("{contract}.boc")));
        originals.insert(contract.to_owned(), code);
    }
    let recorded = recorded();
    for (contract, code) in &originals {
        let unchanged = killer(&recorded, *code.repr_hash(), code);
        assert_eq!(
            unchanged, None,
            "{contract} itself differs from its recording"
        );
    }
    let mut mutants: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    mutants.sort();
    for mutant in mutants {
        let name = stem(&mutant);
        let (contract, _) = name.rsplit_once('-').unwrap();
        let original = *originals[contract].repr_hash();
        match killer(&recorded, original, &code_of(&mutant)) {
            Some(number) => println!("{name} {number}"),
            None => println!("{name} survived"),
        }
    }
}
