//! A network with a pinned key block, and servers that prove some accounts at some height.

use std::sync::Arc;

use contracts::lite::LiteServers;
use contracts::proof::BlockId;
use tycho_types::cell::Cell;
use tycho_types::models::ShardIdent;

use crate::blocks::{
    KEY_SEQNO, Made, NETWORK, Set, TIME, bag, block_at, key_block, link, pair, proof_without,
    shard_block_of,
};
use crate::server::{Changing, Fault, Served, Shown, start, start_changing};

/// An account of workchain 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountCell {
    /// Its number.
    pub address: [u8; 32],
    /// Its cell.
    pub cell: Cell,
    /// Logical time of its last transaction.
    pub last_lt: u64,
}

/// A network of one validator whose first key block is pinned.
#[derive(Debug, Clone)]
pub struct Scene {
    first: Made,
}

impl Default for Scene {
    fn default() -> Self {
        Self {
            first: key_block(KEY_SEQNO, 0, &Set::default()),
        }
    }
}

impl Scene {
    /// What an honest server says at some height: these accounts, and no other, are there.
    #[must_use]
    pub fn at(&self, seqno: u32, accounts: &[AccountCell]) -> Served {
        self.at_time(TIME, seqno, accounts)
    }

    /// The same at another time.
    #[must_use]
    pub fn at_time(&self, time: u32, seqno: u32, accounts: &[AccountCell]) -> Served {
        let entries = accounts
            .iter()
            .map(|one| (one.address, one.cell.clone(), one.last_lt));
        let shard = shard_block_of(NETWORK, ShardIdent::BASECHAIN, entries);
        let shards = [(ShardIdent::BASECHAIN, shard.clone())];
        let head = block_at(time, NETWORK, (seqno, KEY_SEQNO), &shards);
        let shown = |address, state: Option<&Cell>| Shown {
            address,
            proof: pair(
                &shard.header(),
                &proof_without(&shard.state, state.map_or(&[], std::slice::from_ref)),
            ),
            state: state.map_or_else(Vec::new, bag),
        };
        let mut all: Vec<Shown> = accounts
            .iter()
            .map(|one| shown(one.address, Some(&one.cell)))
            .collect();
        all.push(shown([0; 32], None));
        Served {
            last: head.id,
            links: vec![(self.first.id, vec![link(&self.first, &head, &[1])])],
            shard_proof: pair(&head.header(), &proof_without(&head.state, &[])),
            accounts: all,
            fault: Fault::None,
            sent: Arc::default(),
        }
    }

    /// The pinned key block.
    #[must_use]
    pub const fn pinned(&self) -> BlockId {
        self.first.id
    }

    /// Starts a server for each; keys are numbered from 20.
    pub async fn start(&self, all: impl IntoIterator<Item = Served>) -> LiteServers {
        let mut servers = Vec::new();
        for (number, served) in (20_u8..).zip(all) {
            servers.push(start(number, served).await.parse().unwrap());
        }
        LiteServers {
            servers,
            pinned: self.first.id,
        }
    }

    /// The same, of what may change.
    pub async fn start_changing(&self, all: impl IntoIterator<Item = Changing>) -> LiteServers {
        let mut servers = Vec::new();
        for (number, served) in (20_u8..).zip(all) {
            servers.push(start_changing(number, served).await.parse().unwrap());
        }
        LiteServers {
            servers,
            pinned: self.first.id,
        }
    }
}
