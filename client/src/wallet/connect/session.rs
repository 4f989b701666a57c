//! A session on the disk: the key of our end, and what must not be forgotten between two commands.
//!
//! Not here: what passes in a session (`parent`).

use contracts::wallet::WalletKind;
use protocol::ton::{NetworkId, TonAddress};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use zeroize::Zeroizing;

use super::sealed::{ClientId, SessionKey};
use crate::wallet::state::{StateDirectory, StateError};

/// The directory of a session, within the state.
const DIRECTORY: &str = "connect";
const KEY: &str = "key";
const SESSION: &str = "session.json";
const MAX_SESSION_BYTES: usize = 8 * 1024;

/// What is known of a session. The key of our end lies in a file of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// Version of the file, 1.
    pub version: u16,
    /// The network of the wallet's account.
    pub network: NetworkId,
    /// The bridge's URL.
    pub bridge: String,
    /// The roots by which the bridge's certificate is judged, where not this machine's.
    pub bridge_roots: Option<PathBuf>,
    /// The wallet's end.
    pub wallet: String,
    /// The wallet's address.
    pub address: TonAddress,
    /// The name of the wallet's contract.
    pub kind: String,
    /// The wallet program's name, as it said it.
    pub app: String,
    /// The bridge's number of the last event that was read.
    pub last_bridge_event: Option<String>,
    /// The wallet's number of its last event: none that is not greater is taken.
    pub last_event: u64,
    /// The number of our next request: the wallet takes none that is not greater than the last.
    pub next_request: u64,
}

impl Session {
    /// The wallet's end.
    ///
    /// # Errors
    /// `Malformed`.
    pub fn wallet_end(&self) -> Result<ClientId, StateError> {
        self.wallet.parse().map_err(|_| StateError::Malformed {
            path: SESSION.into(),
        })
    }
}

/// Where a session lies.
#[derive(Debug, Clone)]
pub(super) struct SessionFiles(StateDirectory);

impl SessionFiles {
    /// The place in a state directory; it is made when there is none.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn within(state: &StateDirectory) -> Result<Self, StateError> {
        state.within(DIRECTORY).map(Self)
    }

    /// The session that is there, if any.
    ///
    /// # Errors
    /// `Malformed`, `Io`.
    pub(super) fn read(&self) -> Result<Option<Session>, StateError> {
        let Some(bytes) = self.0.read(SESSION, MAX_SESSION_BYTES)? else {
            return Ok(None);
        };
        let session: Option<Session> = serde_json::from_slice(&bytes).ok();
        let known = |session: &Session| {
            let kind = session.kind.parse::<WalletKind>();
            session.version == 1 && kind.is_ok() && session.wallet_end().is_ok()
        };
        session
            .filter(known)
            .map(Some)
            .ok_or_else(|| self.malformed(SESSION))
    }

    /// The key of our end.
    ///
    /// # Errors
    /// `Malformed`, `Io`.
    pub(super) fn key(&self) -> Result<SessionKey, StateError> {
        let bytes = self.0.read(KEY, 32)?.map(Zeroizing::new);
        let bytes = bytes.ok_or_else(|| self.malformed(KEY))?;
        let bytes: Result<&[u8; 32], _> = bytes.as_slice().try_into();
        bytes
            .map(SessionKey::from_bytes)
            .map_err(|_| self.malformed(KEY))
    }

    /// Writes a new session; without its second file the first counts for nothing. Of two that are
    /// written at once, one is refused: a session never has the other one's key.
    ///
    /// # Errors
    /// `Exists`, `InUse`, `Io`.
    pub(super) fn create(&self, key: &[u8; 32], session: &Session) -> Result<(), StateError> {
        let _lock = self.lock()?;
        if self.read()?.is_some() {
            return Err(self.exists());
        }
        self.0.replace(KEY, key)?;
        self.0.create(SESSION, &self.text(session)?)
    }

    /// Writes what changed.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn replace(&self, session: &Session) -> Result<(), StateError> {
        self.0.replace(SESSION, &self.text(session)?)
    }

    /// Forgets the session and its key.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn remove(&self) -> Result<(), StateError> {
        self.0.remove(SESSION)?;
        self.0.remove(KEY)
    }

    /// Keeps other programs from this session while it is used.
    ///
    /// # Errors
    /// `InUse`, `Io`.
    pub(super) fn lock(&self) -> Result<crate::wallet::state::StateLock, StateError> {
        self.0.lock()
    }

    /// For whoever would put another wallet beside this one.
    #[must_use]
    pub(super) fn exists(&self) -> StateError {
        StateError::Exists {
            path: self.0.path(SESSION),
        }
    }

    fn malformed(&self, name: &str) -> StateError {
        StateError::Malformed {
            path: self.0.path(name),
        }
    }

    fn text(&self, session: &Session) -> Result<Vec<u8>, StateError> {
        serde_json::to_vec_pretty(session).map_err(|_| self.malformed(SESSION))
    }
}
