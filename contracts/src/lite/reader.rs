//! Accounts by several lite-servers: each answer is proven, heights never fall, and what servers
//! prove must agree.
//!
//! One server alone could show an old block for as long as freshness allows; with two, the newer
//! one counts, and a server that lags or answers wrongly is named. Not here: where the position is
//! kept between runs, clocks and randomness, which are arguments.

use core::fmt;
use core::str::FromStr;

use protocol::ton::{NetworkId, TonAddress};

use super::answers::BlockProof;
use super::connection::{Connection, ConnectionError, LiteServer};
use crate::proof::{AccountProof, BlockId, ProofError, ProvenAccount, TrustedBlock};

/// Servers at least: one alone is not compared with anything.
pub const MIN_SERVERS: usize = 2;
/// Answers with links on the way to one block at most; the main network makes about 500 key blocks
/// a year (inferred from periods of 65,536 s), and servers send several links at once.
const MAX_ANSWERS: usize = 256;

/// Where a reader stands: what it goes on from, and what it never goes below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The last key block that was proven, or the pinned one.
    pub key_block: BlockId,
    /// The greatest height that was proven.
    pub seqno: u32,
}

/// Text that is not a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a position as `height key-block`")]
pub struct PositionError;

impl Position {
    /// At a pinned block.
    #[must_use]
    pub const fn at(pinned: BlockId) -> Self {
        Self {
            key_block: pinned,
            seqno: pinned.seqno,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.seqno, self.key_block)
    }
}

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let (seqno, block) = text.split_once(' ').ok_or(PositionError)?;
        let height: u32 = seqno.parse().map_err(|_| PositionError)?;
        let key_block: BlockId = block.parse().map_err(|_| PositionError)?;
        if height.to_string() != seqno || height < key_block.seqno {
            return Err(PositionError);
        }
        Ok(Self {
            key_block,
            seqno: height,
        })
    }
}

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
pub enum LiteError {
    /// Fewer servers than are compared.
    #[error("{given} lite-servers; at least {MIN_SERVERS} different ones are needed")]
    TooFewServers {
        /// How many different ones.
        given: usize,
    },
    /// A server gave no answer.
    #[error("lite-server {server} gave no answer")]
    Connection {
        /// Which, by its place in the list, from 0.
        server: usize,
        /// Why.
        source: ConnectionError,
    },
    /// A server's answer proves nothing.
    #[error("lite-server {server} is refused")]
    Proof {
        /// Which.
        server: usize,
        /// Why.
        source: ProofError,
    },
    /// A server's links lead nowhere.
    #[error("lite-server {server} does not lead to the block that it names")]
    NoWay {
        /// Which.
        server: usize,
    },
    /// A server stands below what was proven before.
    #[error("lite-server {server} is at height {seqno}; {proven} was proven before")]
    Behind {
        /// Which.
        server: usize,
        /// Its height.
        seqno: u32,
        /// The height that was proven.
        proven: u32,
    },
    /// Two different blocks of one height are proven: validators signed both.
    #[error("lite-servers prove different blocks at height {seqno}")]
    Disagreement {
        /// The height.
        seqno: u32,
    },
    /// The newest block that any server proves is too old.
    #[error("the newest proven block is of {time}, more than {limit} s ago")]
    Stale {
        /// Its time.
        time: u32,
        /// Seconds.
        limit: u64,
    },
}

impl LiteError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooFewServers { .. } => "lite-too-few-servers",
            Self::Connection { source, .. } => source.code(),
            Self::Proof { source, .. } => source.code(),
            Self::NoWay { .. } => "lite-no-way",
            Self::Behind { .. } => "lite-behind",
            Self::Disagreement { .. } => "lite-disagreement",
            Self::Stale { .. } => "lite-stale",
        }
    }
}

/// When something is read, by the caller's clock.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Unix seconds.
    pub now: u64,
    /// A block may be so old.
    pub limit: u64,
}

/// Several lite-servers, and where the reader stands.
#[derive(Debug, Clone)]
pub struct LiteReader {
    network: NetworkId,
    servers: Vec<LiteServer>,
    position: Position,
}

/// A server whose last block is proven.
struct Proven {
    server: usize,
    connection: Connection,
    block: TrustedBlock,
    key_block: TrustedBlock,
}

impl LiteReader {
    /// Reads by these servers from this position on; nothing is sent yet.
    ///
    /// # Errors
    /// `TooFewServers`, where a server that is named twice is one.
    pub fn new(
        network: NetworkId,
        servers: Vec<LiteServer>,
        position: Position,
    ) -> Result<Self, LiteError> {
        let different = servers.iter().enumerate();
        let different = different.filter(|(at, one)| !servers.iter().take(*at).any(|o| o == *one));
        let given = different.count();
        if given < MIN_SERVERS || given != servers.len() {
            return Err(LiteError::TooFewServers { given });
        }
        Ok(Self {
            network,
            servers,
            position,
        })
    }

    /// Where it stands: to be kept before anything is done with what was read.
    #[must_use]
    pub const fn position(&self) -> &Position {
        &self.position
    }

    /// An account at the newest block that any server proves. `draw` gives 32 random bytes for each
    /// connection.
    ///
    /// # Errors
    /// See [`LiteError`]. Fewer than [`MIN_SERVERS`] servers that prove their last block are the
    /// first one's failure.
    pub async fn account(
        &mut self,
        address: &TonAddress,
        moment: Moment,
        mut draw: impl FnMut() -> [u8; 32],
    ) -> Result<ProvenAccount, LiteError> {
        let mut proven = Vec::new();
        let mut failures = Vec::new();
        for server in 0..self.servers.len() {
            match self.head(server, draw()).await {
                Ok(head) => proven.push(head),
                Err(failure) => failures.push(failure),
            }
        }
        if proven.len() < MIN_SERVERS {
            let given = proven.len();
            let first = failures.into_iter().next();
            return Err(first.unwrap_or(LiteError::TooFewServers { given }));
        }
        agree(&proven)?;
        let newest = proven
            .iter_mut()
            .max_by_key(|head| head.block.id().seqno)
            .ok_or(LiteError::TooFewServers { given: 0 })?;
        let id = *newest.block.id();
        if id.seqno < self.position.seqno {
            return Err(LiteError::Behind {
                server: newest.server,
                seqno: id.seqno,
                proven: self.position.seqno,
            });
        }
        let account = newest.account(address).await?;
        if !account.is_fresh(moment.now, moment.limit) {
            return Err(LiteError::Stale {
                time: account.account().chain_time,
                limit: moment.limit,
            });
        }
        self.position = Position {
            key_block: *newest.key_block.id(),
            seqno: id.seqno,
        };
        Ok(account)
    }

    /// Hands an external message to every server; one that takes it is enough.
    ///
    /// # Errors
    /// The last server's failure, when none takes it.
    pub async fn send(
        &self,
        message: &[u8],
        mut draw: impl FnMut() -> [u8; 32],
    ) -> Result<(), LiteError> {
        let mut taken = Err(LiteError::TooFewServers { given: 0 });
        for (server, one) in self.servers.iter().enumerate() {
            let sent = async {
                let mut connection = Connection::open(one, draw()).await?;
                connection.send(message).await
            };
            let sent = sent.await;
            if taken.is_err() {
                taken = sent.map_err(|source| LiteError::Connection { server, source });
            }
        }
        taken
    }

    /// Proves a server's last block.
    async fn head(&self, server: usize, seed: [u8; 32]) -> Result<Proven, LiteError> {
        let lost = |source| LiteError::Connection { server, source };
        let refused = |source| LiteError::Proof { server, source };
        let one = self.servers.get(server);
        let one = one.ok_or(LiteError::TooFewServers { given: server })?;
        let mut connection = Connection::open(one, seed).await.map_err(lost)?;
        let last = connection.masterchain_info().await.map_err(lost)?.last;
        let from = TrustedBlock::pin(self.network, self.position.key_block).map_err(refused)?;
        if last.seqno < from.id().seqno {
            return Err(LiteError::Behind {
                server,
                seqno: last.seqno,
                proven: from.id().seqno,
            });
        }
        let (mut block, mut key_block) = (from, from);
        for _ in 0..MAX_ANSWERS {
            if *block.id() == last {
                return Ok(Proven {
                    server,
                    connection,
                    block,
                    key_block,
                });
            }
            let answer = connection.block_proof(key_block.id(), &last).await;
            let BlockProof { links } = answer.map_err(lost)?;
            let followed = key_block.follow(&links).map_err(refused)?;
            // An answer leads to the end, or to a key block from which to go on.
            let onward = followed.key_block.id().seqno > key_block.id().seqno;
            if *followed.block.id() != last && !onward {
                return Err(LiteError::NoWay { server });
            }
            (block, key_block) = (followed.block, followed.key_block);
        }
        Err(LiteError::NoWay { server })
    }
}

impl Proven {
    async fn account(&mut self, address: &TonAddress) -> Result<ProvenAccount, LiteError> {
        let server = self.server;
        let answer = self.connection.account(self.block.id(), address).await;
        let answer = answer.map_err(|source| LiteError::Connection { server, source })?;
        let proof = AccountProof {
            shard: &answer.shard_proof,
            account: &answer.proof,
            state: &answer.state,
        };
        let proven = self.block.account(address, &proof);
        proven.map_err(|source| LiteError::Proof { server, source })
    }
}

/// Refuses two proven blocks of one height, of whatever kind.
fn agree(proven: &[Proven]) -> Result<(), LiteError> {
    let named = proven
        .iter()
        .flat_map(|head| [head.block.id(), head.key_block.id()]);
    let named: Vec<&BlockId> = named.collect();
    for one in &named {
        if named
            .iter()
            .any(|other| other.seqno == one.seqno && other != one)
        {
            return Err(LiteError::Disagreement { seqno: one.seqno });
        }
    }
    Ok(())
}
