//! Accounts of a chain that has no blocks, such as `tests/ton-testnode`, shown by two lite-servers
//! as one validator's blocks: a new one whenever something changed. Messages go on to that chain.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use contracts::account::{Account, AccountState};
use contracts::lite::LiteServers;
use contracts::toncenter::Toncenter;
use protocol::ton::TonAddress;
use tokio::task::JoinHandle;

use crate::blocks::{SEQNO, account_of, account_without_code};
use crate::scene::{AccountCell, Scene};
use crate::server::{Changing, Served};

/// Between two looks at the chain.
const PAUSE: Duration = Duration::from_millis(100);

type Seen = (TonAddress, Account);

/// Ends with this value.
#[derive(Debug)]
pub struct Mirror {
    /// Its servers, and the block to start from.
    pub by: LiteServers,
    /// What they say at the moment.
    pub servers: [Changing; 2],
    task: JoinHandle<()>,
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Mirror {
    /// Shows these accounts as the chain's endpoint does now and later.
    pub async fn start(chain: Toncenter, watched: Vec<TonAddress>) -> Self {
        let scene = Scene::default();
        let mut shown = look(&chain, &watched).await.unwrap();
        let first = served(&scene, SEQNO, &shown);
        let servers: [Changing; 2] = [
            Arc::new(Mutex::new(first.clone())),
            Arc::new(Mutex::new(first)),
        ];
        let by = scene.start_changing(servers.clone()).await;
        let changing = servers.clone();
        let task = tokio::spawn(async move {
            for seqno in SEQNO + 1.. {
                shown = changed(&chain, &watched, &shown, &changing).await;
                let later = served(&scene, seqno, &shown);
                for server in &changing {
                    let mut server = server.lock().unwrap();
                    let sent = Arc::clone(&server.sent);
                    *server = Served {
                        sent,
                        ..later.clone()
                    };
                }
            }
        });
        Self { by, servers, task }
    }
}

/// The accounts once they differ from before; hands messages on meanwhile.
async fn changed(
    chain: &Toncenter,
    watched: &[TonAddress],
    before: &[Seen],
    servers: &[Changing; 2],
) -> Vec<Seen> {
    loop {
        tokio::time::sleep(PAUSE).await;
        let mut handed: Vec<Vec<u8>> = Vec::new();
        for server in servers {
            let sent = Arc::clone(&server.lock().unwrap().sent);
            handed.append(&mut sent.lock().unwrap());
        }
        // Both servers were handed the same one.
        handed.dedup();
        for message in handed {
            // Refused or not: whoever sent it looks for what came of it.
            drop(chain.send_boc(&message).await);
        }
        match look(chain, watched).await {
            Some(now) if now != before => return now,
            _ => {}
        }
    }
}

/// None when the chain is away.
async fn look(chain: &Toncenter, watched: &[TonAddress]) -> Option<Vec<Seen>> {
    let mut all = Vec::new();
    for address in watched {
        let account = chain.account(address).await.ok()?;
        all.push((*address, account));
    }
    Some(all)
}

fn served(scene: &Scene, seqno: u32, shown: &[Seen]) -> Served {
    let time = shown.iter().map(|(_, account)| account.chain_time).max();
    let cells: Vec<AccountCell> = shown
        .iter()
        // Before its first transaction there is none.
        .filter(|(_, account)| account.last_lt > 0)
        .map(|(at, account)| {
            let (address, balance) = (at.account.0, account.balance.units());
            AccountCell {
                address,
                cell: match &account.state {
                    AccountState::Active { code, data } => {
                        account_of(address, balance, code.clone(), data.clone())
                    }
                    AccountState::Uninitialized => account_without_code(address, balance),
                    AccountState::Frozen => panic!("frozen accounts are not shown"),
                },
                last_lt: account.last_lt,
            }
        })
        .collect();
    scene.at_time(time.unwrap(), seqno, &cells)
}
