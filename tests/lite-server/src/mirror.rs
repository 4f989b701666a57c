//! The emulated chain, which has no blocks, shown by two lite-servers as one validator's blocks: a
//! connection sees it as it is when it is made, in a new block if something changed. Messages go on
//! to that chain.

use std::sync::Arc;
use std::time::Duration;

use contracts::account::{Account, AccountState};
use contracts::lite::LiteServers;
use protocol::ton::TonAddress;
use tokio::sync::Mutex;

use crate::blocks::{SEQNO, account_of, account_without_code};
use crate::scene::{AccountCell, Scene};
use crate::server::{Served, start_asking};
use crate::test_chain::{Status, TestChain};

/// Between two looks at a chain that is busy or away.
const PAUSE: Duration = Duration::from_millis(20);

/// Two servers before one chain.
#[derive(Debug)]
pub struct Mirror {
    /// Its servers, and the block to start from.
    pub by: LiteServers,
}

/// What both servers say.
struct Shown {
    chain: TestChain,
    scene: Scene,
    last: (Status, Served),
    seqno: u32,
}

impl Mirror {
    /// Shows every account of the chain, from now on.
    pub async fn start(chain: TestChain) -> Self {
        let scene = Scene::default();
        let pinned = scene.pinned();
        let last = look(&chain, &scene, SEQNO).await;
        let shown = Arc::new(Mutex::new(Shown {
            chain,
            scene,
            last,
            seqno: SEQNO,
        }));
        let mut servers = Vec::new();
        for number in [20, 21] {
            let shown = Arc::clone(&shown);
            let now = move || {
                let shown = Arc::clone(&shown);
                async move { shown.lock().await.now().await }
            };
            servers.push(start_asking(number, now).await.parse().unwrap());
        }
        let by = LiteServers { servers, pinned };
        Self { by }
    }
}

impl Shown {
    async fn now(&mut self) -> Served {
        let sent = Arc::clone(&self.last.1.sent);
        let mut handed = std::mem::take(&mut *sent.lock().unwrap());
        // Both servers were handed the same one.
        handed.dedup();
        for message in handed {
            self.chain.send(&message).await;
        }
        if self.chain.status().await.as_ref() != Some(&self.last.0) {
            self.seqno += 1;
            self.last = look(&self.chain, &self.scene, self.seqno).await;
            self.last.1.sent = sent;
        }
        self.last.1.clone()
    }
}

/// The chain as it is at one moment.
async fn look(chain: &TestChain, scene: &Scene, seqno: u32) -> (Status, Served) {
    loop {
        if let Some(status) = chain.status().await
            && let Some(accounts) = chain.accounts(&status).await
        {
            let cells: Vec<AccountCell> = accounts.iter().map(cell).collect();
            let served = scene.at_time(status.now, seqno, &cells);
            return (status, served);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn cell((at, account): &(TonAddress, Account)) -> AccountCell {
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
}
