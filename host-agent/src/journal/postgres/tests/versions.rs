//! Claims about a shared ledger of another version than this program's.

use contracts::asset::Asset;
use protocol::digest::ReceiptsRoot;

use super::super::super::{ClaimRecord, ClaimState};
use super::*;

#[test]
#[ignore = "needs a PostgreSQL: ci/ledger"]
fn a_ledger_of_version_1_is_taken_up_once_and_keeps_what_it_holds() {
    const AGENTS: usize = 4;
    let server = Server::start(&[]);
    let mut journal = share(&server);
    journal.append_voucher(&samples::voucher(10), NOW).unwrap();
    let claim = ClaimRecord {
        channel: CHANNEL,
        epoch: EPOCH,
        cumulative: Nano::from_u64(10),
        receipts_root: ReceiptsRoot([3; 32]),
        state: ClaimState::Shown,
        at: NOW,
        fees: Some(Nano::from_u64(7)),
        asset: Asset::Coin,
    };
    journal.append_claim(&claim).unwrap();
    drop(journal);
    server
        .run(
            "ALTER TABLE cocoon_ledger.claims DROP COLUMN minter;
             UPDATE cocoon_ledger.ledger SET version = 1",
        )
        .unwrap();
    let together = Barrier::new(AGENTS);
    thread::scope(|scope| {
        for agent in 0..AGENTS {
            let (server, together) = (&server, &together);
            scope.spawn(move || {
                together.wait();
                let mut journal = share(server);
                assert_eq!(journal.claims().unwrap()[0], claim);
                let highest = journal.highest_voucher(&CHANNEL, EPOCH).unwrap();
                assert_eq!(highest, Some(samples::voucher(10)));
                let total = 11 + u64::try_from(agent).unwrap();
                let paid = ClaimRecord {
                    cumulative: Nano::from_u64(total),
                    asset: Asset::Jetton(samples::PAYEE),
                    ..claim
                };
                journal.append_claim(&paid).unwrap();
                assert!(journal.claims().unwrap().contains(&paid));
            });
        }
    });
    assert_eq!(share(&server).claims().unwrap().len(), 1 + AGENTS);
}

#[test]
#[ignore = "needs a PostgreSQL: ci/ledger"]
fn refuses_a_later_version_a_foreign_schema_and_a_server_that_does_not_synchronise() {
    let refused = |server: &Server| {
        let refused = Journal::share(options(&server.address())).unwrap_err();
        let JournalError::Ledger(error) = refused else {
            panic!("{refused}")
        };
        error
    };
    let server = Server::start(&[]);
    let mut journal = share(&server);
    server
        .run("UPDATE cocoon_ledger.ledger SET version = 3")
        .unwrap();
    // Also who was connected before.
    let late = journal
        .append_voucher(&samples::voucher(1), NOW)
        .unwrap_err();
    assert!(matches!(late, JournalError::Ledger(LedgerError::Foreign)));
    assert!(matches!(refused(&server), LedgerError::Foreign));
    drop(journal);
    server
        .run("DROP SCHEMA cocoon_ledger CASCADE; CREATE SCHEMA cocoon_ledger")
        .unwrap();
    assert!(matches!(refused(&server), LedgerError::Foreign));
    let server = Server::start(&["fsync=off"]);
    let error = refused(&server);
    assert!(matches!(
        error,
        LedgerError::NotDurable { setting: "fsync" }
    ));
}
