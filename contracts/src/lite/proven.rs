//! Accounts by proof for a program's whole run: which servers, from which block, fresh to which
//! limit, with the position kept before anything is done with what was read.
//!
//! Not here: what follows from an account (`chain`).

use core::fmt;
use std::sync::Arc;

use protocol::ton::{NetworkId, TonAddress};

use super::connection::LiteServer;
use super::position::{Position, PositionFile};
use super::reader::{LiteError, LiteReader, Moment, NoRandomness};
use crate::account::Account;
use crate::proof::BlockId;
use crate::toncenter::ChainError;

/// Which lite-servers are asked, and the key block from which their answers are proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiteServers {
    /// Two different ones at least.
    pub servers: Vec<LiteServer>,
    /// Trusted by the user's word.
    pub pinned: BlockId,
}

/// What a program that reads by proof brings.
pub struct ByProof {
    /// The network whose blocks count.
    pub network: NetworkId,
    /// Whom to ask.
    pub by: LiteServers,
    /// Keeps the position.
    pub file: PositionFile,
    /// The newest proven block may be so old, seconds.
    pub limit: u64,
    /// The clock by which that is judged, unix seconds.
    pub now: Box<dyn Fn() -> u64 + Send + Sync>,
    /// 32 bytes of the kernel's randomness.
    pub draw: Box<dyn Fn() -> Result<[u8; 32], NoRandomness> + Send + Sync>,
}

impl fmt::Debug for ByProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByProof")
            .field("by", &self.by)
            .finish_non_exhaustive()
    }
}

/// Reads accounts by proof. A clone is the same reader.
#[derive(Debug, Clone)]
pub struct ProvenAccounts(Arc<ByProof>);

impl ProvenAccounts {
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// `Proven` with `TooFewServers` or `Repeated`; `Position` when the file cannot be read.
    pub fn new(by: ByProof) -> Result<Self, ChainError> {
        let accounts = Self(Arc::new(by));
        accounts.reader()?;
        Ok(accounts)
    }

    /// The network whose blocks count.
    #[must_use]
    pub fn network(&self) -> NetworkId {
        self.0.network
    }

    /// The greatest height that was proven, in whatever program; before that the pinned block's.
    ///
    /// # Errors
    /// `Position` when the file cannot be read.
    pub fn height(&self) -> Result<u32, ChainError> {
        Ok(self.reader()?.position().seqno)
    }

    /// An account at the newest block that any server proves.
    ///
    /// # Errors
    /// `Proven`, `Position`.
    pub async fn account(&self, address: &TonAddress) -> Result<Account, ChainError> {
        self.account_within(address, self.0.limit).await
    }

    /// The same, from a block that may be so many seconds old.
    ///
    /// # Errors
    /// `Proven`, `Position`.
    pub async fn account_within(
        &self,
        address: &TonAddress,
        limit: u64,
    ) -> Result<Account, ChainError> {
        let mut reader = self.reader()?;
        let moment = Moment {
            now: (self.0.now)(),
            limit,
        };
        let proven = reader.account(address, moment, &self.0.draw).await?;
        let kept = self.0.file.keep(*reader.position());
        kept.map_err(ChainError::Position)?;
        // The way from an old pin may have taken minutes; the next read need not go it again.
        if !proven.is_fresh((self.0.now)(), limit) {
            let time = proven.account().chain_time;
            return Err(LiteError::Stale { time, limit }.into());
        }
        Ok(proven.into_account())
    }

    /// Hands an external message to every server.
    ///
    /// # Errors
    /// `Proven`, when none takes it; `Position`.
    pub async fn send(&self, message: &[u8]) -> Result<(), ChainError> {
        Ok(self.reader()?.send(message, &self.0.draw).await?)
    }

    /// From where the last read ended, in whatever program.
    fn reader(&self) -> Result<LiteReader, ChainError> {
        let LiteServers { servers, pinned } = &self.0.by;
        let pinned = Position::at(*pinned);
        let kept = self.0.file.read().map_err(ChainError::Position)?;
        let position = kept.map_or(pinned, |kept| pinned.or_later(kept));
        let reader = LiteReader::new(self.0.network, servers.clone(), position);
        reader.map_err(ChainError::Proven)
    }
}
