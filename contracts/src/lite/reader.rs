//! Accounts by several lite-servers: each answer is proven, heights never fall, and what servers
//! prove must agree.
//!
//! One server alone could show an old block for as long as freshness allows; with two, the newer
//! one counts, and a server that lags or answers wrongly is named. Not here: where the position is
//! kept between runs, clocks and randomness, which are arguments.

use core::cmp::Reverse;
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::Poll;
use core::time::Duration;

use protocol::ton::{NetworkId, TonAddress};
use tokio::time::{Instant, sleep, timeout};

use super::answers::BlockProof;
use super::connection::{Connection, ConnectionError, LiteServer, PATIENCE};
use super::position::Position;
use crate::proof::{AccountProof, BlockId, ProofError, ProvenAccount, TrustedBlock};

/// Servers at least: one alone is not compared with anything.
pub const MIN_SERVERS: usize = 2;
/// Answers with links on the way to one block at most; the main network makes about 500 key blocks
/// a year (inferred from periods of 65,536 s), and servers send several links at once.
const MAX_ANSWERS: usize = 256;
/// All answers of the servers on the way to their last blocks come within this time, also the first
/// time from an old pin: each alone may take [`PATIENCE`], and a server that needs that for
/// every one would hold a reader for three quarters of an hour.
const WAY: Duration = Duration::from_secs(120);
/// Once enough servers have, the others get so much longer: one that never answers must not decide
/// how long a read takes.
pub const LAGGARDS: Duration = Duration::from_secs(2);

/// There was no randomness for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no randomness for a connection")]
pub struct NoRandomness;

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
pub enum LiteError {
    /// The kernel.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// Fewer servers than are compared.
    #[error("{given} lite-servers; at least {MIN_SERVERS} are needed")]
    TooFewServers {
        /// How many.
        given: usize,
    },
    /// A server that is named already.
    #[error("lite-server {server} is one that is named before it")]
    Repeated {
        /// Which.
        server: usize,
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
    /// A server's links do not arrive in time.
    #[error("lite-server {server} takes too long to lead to the block that it names")]
    TooSlow {
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
    /// Two different chains are proven: validators of the same time signed both.
    #[error("lite-servers prove different chains at height {seqno}")]
    Disagreement {
        /// The height up to which they could be one.
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
            Self::Randomness(NoRandomness) => "no-randomness",
            Self::TooFewServers { .. } => "lite-too-few-servers",
            Self::Repeated { .. } => "lite-repeated-server",
            Self::Connection { source, .. } => source.code(),
            Self::Proof { source, .. } => source.code(),
            Self::NoWay { .. } => "lite-no-way",
            Self::TooSlow { .. } => "lite-too-slow",
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
    way: Duration,
}

/// A server whose last block is proven.
struct Proven {
    server: usize,
    connection: Connection,
    block: TrustedBlock,
    key_block: TrustedBlock,
    /// Every key block after the position's, up to that one.
    passed: Vec<BlockId>,
}

/// A server that is on its way to its last block.
type Asked<'a> = Pin<Box<dyn Future<Output = Result<Proven, LiteError>> + Send + 'a>>;

impl LiteReader {
    /// Reads by these servers from this position on; nothing is sent yet.
    ///
    /// # Errors
    /// `TooFewServers`; `Repeated`, also where another name has the same key, or another key the
    /// same address.
    pub fn new(
        network: NetworkId,
        servers: Vec<LiteServer>,
        position: Position,
    ) -> Result<Self, LiteError> {
        let given = servers.len();
        if given < MIN_SERVERS {
            return Err(LiteError::TooFewServers { given });
        }
        let mut numbered = servers.iter().enumerate();
        let named = |(at, one): (usize, &LiteServer)| servers.iter().take(at).any(|o| o.is(one));
        if let Some(server) = numbered.position(named) {
            return Err(LiteError::Repeated { server });
        }
        Ok(Self {
            network,
            servers,
            position,
            way: WAY,
        })
    }

    /// Waits so long for the servers to lead to their last blocks; two minutes unless this says
    /// otherwise.
    #[must_use]
    pub const fn within(mut self, way: Duration) -> Self {
        self.way = way;
        self
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
    /// See [`LiteError`]. Fewer than [`MIN_SERVERS`] servers that prove their last block, and the
    /// account when it is asked of them, are the first one's failure.
    pub async fn account(
        &mut self,
        address: &TonAddress,
        moment: Moment,
        draw: impl FnMut() -> Result<[u8; 32], NoRandomness>,
    ) -> Result<ProvenAccount, LiteError> {
        let (mut proven, mut failures) = self.heads(self.seeds(draw)?).await;
        loop {
            if proven.len() < MIN_SERVERS {
                let given = proven.len();
                // Of the servers in their order.
                let first = failures.into_iter().min_by_key(|(server, _)| *server);
                let first = first.map(|(_, failure)| failure);
                return Err(first.unwrap_or(LiteError::TooFewServers { given }));
            }
            agree(&proven)?;
            // The first is the newest; of equal ones, the one that is named first.
            proven.sort_by_key(|head| (Reverse(head.block.id().seqno), head.server));
            let newest = proven.first();
            let newest = newest.ok_or(LiteError::TooFewServers { given: 0 })?;
            let (server, block, key_block) = (newest.server, newest.block, newest.key_block);
            let seqno = block.id().seqno;
            if seqno < self.position.seqno {
                return Err(LiteError::Behind {
                    server,
                    seqno,
                    proven: self.position.seqno,
                });
            }
            let account = match account_at(&block, &mut proven, address).await {
                Ok(account) => account,
                // Nobody proves its block's account: it does not count.
                Err(failure) => {
                    failures.push((server, failure));
                    proven.remove(0);
                    continue;
                }
            };
            if !account.is_fresh(moment.now, moment.limit) {
                return Err(LiteError::Stale {
                    time: account.account().chain_time,
                    limit: moment.limit,
                });
            }
            self.position = Position {
                key_block: *key_block.id(),
                seqno,
            };
            return Ok(account);
        }
    }

    /// Hands an external message to every server; one that takes it is enough.
    ///
    /// # Errors
    /// The last server's failure, when none takes it.
    pub async fn send(
        &self,
        message: &[u8],
        draw: impl FnMut() -> Result<[u8; 32], NoRandomness>,
    ) -> Result<(), LiteError> {
        let mut taken = Err(LiteError::TooFewServers { given: 0 });
        let seeds = self.seeds(draw)?;
        for ((server, one), seed) in self.servers.iter().enumerate().zip(seeds) {
            let sent = async {
                let mut connection = Connection::open(one, seed).await?;
                connection.send(message).await
            };
            let sent = sent.await;
            if taken.is_err() {
                taken = sent.map_err(|source| LiteError::Connection { server, source });
            }
        }
        taken
    }

    /// 32 random bytes for each server.
    fn seeds(
        &self,
        mut draw: impl FnMut() -> Result<[u8; 32], NoRandomness>,
    ) -> Result<Vec<[u8; 32]>, NoRandomness> {
        self.servers.iter().map(|_| draw()).collect()
    }

    /// Asks all servers at the same time for their last blocks; failures with the server's place.
    async fn heads(&self, seeds: Vec<[u8; 32]>) -> (Vec<Proven>, Vec<(usize, LiteError)>) {
        let (mut proven, mut failures) = (Vec::new(), Vec::new());
        let asked = seeds.into_iter().enumerate();
        let asked =
            asked.map(|(server, seed)| (server, Box::pin(self.head(server, seed)) as Asked));
        let mut asked: Vec<_> = asked.collect();
        let mut end = pin!(sleep(self.way));
        let mut enough = false;
        poll_fn(|context| {
            asked.retain_mut(|(server, head)| {
                match head.as_mut().poll(context) {
                    Poll::Pending => return true,
                    Poll::Ready(Ok(head)) => proven.push(head),
                    Poll::Ready(Err(failure)) => failures.push((*server, failure)),
                }
                false
            });
            if asked.is_empty() {
                return Poll::Ready(());
            }
            if !enough && proven.len() >= MIN_SERVERS {
                enough = true;
                let soon = Instant::now().checked_add(LAGGARDS);
                let at = soon.map_or(end.deadline(), |soon| soon.min(end.deadline()));
                end.as_mut().reset(at);
            }
            end.as_mut().poll(context)
        })
        .await;
        let late = |(server, _)| (server, LiteError::TooSlow { server });
        failures.extend(asked.into_iter().map(late));
        (proven, failures)
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
        let (mut block, mut key_block, mut passed) = (from, from, Vec::new());
        for _ in 0..MAX_ANSWERS {
            if *block.id() == last {
                return Ok(Proven {
                    server,
                    connection,
                    block,
                    key_block,
                    passed,
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
            passed.extend(followed.passed);
        }
        Err(LiteError::NoWay { server })
    }
}

/// The account after a proven block, by the first server that proves it: one that keeps its newest
/// block's account to itself must not be able to stop a reader that has others.
async fn account_at(
    block: &TrustedBlock,
    servers: &mut [Proven],
    address: &TonAddress,
) -> Result<ProvenAccount, LiteError> {
    let mut found = Err(LiteError::TooFewServers { given: 0 });
    let last = servers.len().saturating_sub(1);
    for (asked, one) in servers.iter_mut().enumerate() {
        let server = one.server;
        // Nor may one that falls silent now.
        let patience = if asked < last { LAGGARDS } else { PATIENCE };
        let answer = timeout(patience, one.account(block, address)).await;
        let source = ConnectionError::TimedOut;
        match answer.unwrap_or(Err(LiteError::Connection { server, source })) {
            Ok(account) => return Ok(account),
            // Whose block it is says what went wrong; another may not have it yet.
            Err(failure) if asked == 0 => found = Err(failure),
            Err(_) => {}
        }
    }
    found
}

impl Proven {
    /// The height at which another's chain shows that it is not this one's, if it does.
    fn fork(&self, other: &Self) -> Option<u32> {
        let (block, others) = (self.block.id(), other.block.id());
        if block.seqno == others.seqno && block != others {
            return Some(block.seqno);
        }
        let mut both = self.passed.iter().zip(&other.passed);
        if let Some((mine, theirs)) = both.find(|(mine, theirs)| mine != theirs) {
            return Some(mine.seqno.min(theirs.seqno));
        }
        // A key block at or below this one's last block, which does not have it behind itself.
        let next = other.passed.get(self.passed.len())?;
        (next.seqno <= block.seqno).then_some(next.seqno)
    }

    async fn account(
        &mut self,
        block: &TrustedBlock,
        address: &TonAddress,
    ) -> Result<ProvenAccount, LiteError> {
        let server = self.server;
        let answer = self.connection.account(block.id(), address).await;
        let answer = answer.map_err(|source| LiteError::Connection { server, source })?;
        let proof = AccountProof {
            shard: &answer.shard_proof,
            account: &answer.proof,
            state: &answer.state,
        };
        let proven = block.account(address, &proof);
        proven.map_err(|source| LiteError::Proof { server, source })
    }
}

/// Refuses what cannot be one chain. All start at one key block, and none leads past a key block:
/// so of two, one passed the same as the other and perhaps more, later than where the other stands.
/// Who holds the keys of validators of long ago can sign a chain of their own; an honest server
/// shows it.
fn agree(proven: &[Proven]) -> Result<(), LiteError> {
    for (at, one) in proven.iter().enumerate() {
        for other in proven.iter().skip(at.saturating_add(1)) {
            if let Some(seqno) = one.fork(other).or_else(|| other.fork(one)) {
                return Err(LiteError::Disagreement { seqno });
            }
        }
    }
    Ok(())
}
