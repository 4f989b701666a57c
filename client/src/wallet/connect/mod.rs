//! A wallet on a phone, by TON Connect 2: this program asks, the wallet's owner signs.
//!
//! Messages go through a bridge that is hostile: sealed end to end, numbered, and bounded in size,
//! count and time. The wallet is believed in nothing that the chain can show. Time and randomness
//! come from `Surroundings`. `docs/spec/ton-connect.md`.

mod account;
mod bridge;
pub mod door;
mod error;
mod events;
mod inbox;
mod link;
mod message;
mod proof;
mod sealed;
mod session;

use core::time::Duration;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use contracts::message::{Transfer, receiver_of_external};
use protocol::ton::{NetworkId, TonAddress};
use serde_json::Value;
use zeroize::Zeroizing;

pub use self::account::AccountError;
use self::bridge::Bridge;
pub use self::bridge::BridgeError;
pub use self::error::ConnectError;
pub use self::events::{EventError, MAX_EVENT_BYTES};
use self::inbox::Inbox;
pub use self::inbox::MAX_EVENTS;
pub use self::link::{ANY_WALLET, KNOWN_WALLETS, KnownWallet};
use self::message::{FromWallet, Order};
pub use self::message::{MessageError, USER_DECLINED};
use self::proof::Asked;
pub use self::proof::{PROOF_SECONDS, ProofError, signed_bytes};
pub use self::sealed::{ClientId, NONCE_BYTES, SealError, SessionKey};
pub use self::session::Session;
use self::session::SessionFiles;
use super::state::{StateDirectory, StateError};
use crate::deployment::{NoRandomness, Surroundings};

/// How a wallet is to be asked.
#[derive(Debug, Clone)]
pub struct Invitation {
    /// The bridge's URL.
    pub bridge: String,
    /// Roots for its certificate, where not this machine's.
    pub bridge_roots: Option<PathBuf>,
    /// What a wallet opens: its universal link, or [`ANY_WALLET`].
    pub link: String,
    /// URL of the program's manifest, whose host is the domain of the proof.
    pub manifest: String,
    /// The network on which the wallet must be.
    pub network: NetworkId,
}

/// A wallet is asked to connect.
#[derive(Debug)]
pub struct Request {
    invitation: Invitation,
    domain: String,
    secret: Zeroizing<[u8; 32]>,
    key: SessionKey,
    payload: String,
    bridge: Bridge,
    surroundings: Arc<dyn Surroundings>,
}

impl Request {
    /// Draws a session's key and a nonce; nothing is sent yet.
    ///
    /// # Errors
    /// `Manifest`, `Bridge`, `Randomness`.
    pub fn new(
        invitation: Invitation,
        surroundings: &Arc<dyn Surroundings>,
    ) -> Result<Self, ConnectError> {
        let domain = domain_of(&invitation.manifest).ok_or(ConnectError::Manifest)?;
        let roots = invitation.bridge_roots.as_deref();
        let bridge = Bridge::new(&invitation.bridge, roots, surroundings)?;
        let secret = surroundings.random()?;
        let payload: String = surroundings
            .random()?
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Ok(Self {
            invitation,
            domain,
            key: SessionKey::from_bytes(&secret),
            secret,
            payload,
            bridge,
            surroundings: Arc::clone(surroundings),
        })
    }

    /// The link for the wallet. Whoever reads it can answer in the wallet's place with a wallet of
    /// its own.
    #[must_use]
    pub fn link(&self) -> String {
        let request = message::connect_request(&self.invitation.manifest, &self.payload);
        link::link(&self.invitation.link, &self.key.id(), &request)
    }

    /// Waits for a wallet, checks what it shows, and keeps the session.
    ///
    /// # Errors
    /// See [`ConnectError`]; nothing is kept then.
    pub async fn wait(
        self,
        state: &StateDirectory,
        within: Duration,
    ) -> Result<Session, ConnectError> {
        let waiting = self.answer();
        let waited = tokio::time::timeout(within, waiting).await;
        let session = waited.map_err(|_| ConnectError::Silent(within))??;
        SessionFiles::within(state)?.create(&self.secret, &session)?;
        Ok(session)
    }

    async fn answer(&self) -> Result<Session, ConnectError> {
        let mut inbox = Inbox::new(&self.bridge, self.key.id(), None);
        loop {
            let envelope = inbox.next().await?;
            // Anybody can seal for us: this opens what was not damaged, and shows no sender.
            let Ok(text) = self.key.open(&envelope.from, &envelope.sealed) else {
                continue;
            };
            let (id, account) = match FromWallet::parse(&text)? {
                FromWallet::Connected { id, account } => (id, account),
                FromWallet::Declined { code } => return Err(ConnectError::of_code(code)),
                FromWallet::Disconnected { .. }
                | FromWallet::Answer { .. }
                | FromWallet::HandedBack => continue,
            };
            let asked = Asked {
                domain: &self.domain,
                payload: &self.payload,
                at: self.surroundings.now(),
            };
            let wallet = account.check(self.invitation.network, asked)?;
            return Ok(Session {
                version: 1,
                network: self.invitation.network,
                bridge: self.invitation.bridge.clone(),
                bridge_roots: self.invitation.bridge_roots.clone(),
                wallet: envelope.from.to_string(),
                address: wallet.address,
                kind: wallet.kind.name().to_owned(),
                app: account.app(),
                last_bridge_event: inbox.last,
                last_event: id,
                next_request: 1,
            });
        }
    }
}

/// The host of an https URL, when it can be the domain of a proof.
fn domain_of(manifest: &str) -> Option<String> {
    let parsed: http::Uri = manifest.parse().ok()?;
    let host = parsed.host()?;
    let dotted = host.split('.').all(|part| !part.is_empty()) && host.contains('.');
    let good = parsed.scheme_str() == Some("https") && dotted;
    good.then(|| host.to_owned())
}

/// What is known of a request that was posted. Whether it was sent the chain shows.
#[derive(Debug)]
pub enum Reply {
    /// The wallet says that it sent it.
    Sent,
    /// Nobody said no, and the owner may sign it as long as it is valid: why no more is known.
    Unclear(ConnectError),
}

/// A wallet that is connected.
#[derive(Debug)]
pub struct Connected {
    files: SessionFiles,
    session: Session,
    surroundings: Arc<dyn Surroundings>,
    patience: Duration,
}

impl Connected {
    /// The session in a state directory, if there is one. Answers of the wallet are waited for
    /// `patience` long.
    ///
    /// # Errors
    /// `Malformed`, `Io`.
    pub fn open(
        state: &StateDirectory,
        surroundings: &Arc<dyn Surroundings>,
        patience: Duration,
    ) -> Result<Option<Self>, StateError> {
        let files = SessionFiles::within(state)?;
        let session = files.read()?;
        Ok(session.map(|session| Self {
            files,
            session,
            surroundings: Arc::clone(surroundings),
            patience,
        }))
    }

    /// Waits so long for an answer.
    pub const fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// What is known of the session.
    #[must_use]
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// How long an answer is waited for.
    #[must_use]
    pub const fn patience(&self) -> Duration {
        self.patience
    }

    /// Asks the wallet's owner to sign a transfer and to send it, valid until `valid_until` by the
    /// chain's time.
    ///
    /// # Errors
    /// See [`ConnectError`]: nothing was asked, or the wallet said no, or it signed something else.
    pub async fn ask(&self, transfer: &Transfer, valid_until: u32) -> Result<Reply, ConnectError> {
        let _lock = self.files.lock()?;
        let mut line = Line::open(self)?;
        let transfer = transfer.asked(line.session.network);
        let order = Order {
            network: line.session.network,
            from: line.session.address,
            valid_until,
            transfer: &transfer,
        };
        let id = line.number()?;
        let request = message::send_request(id, &order);
        let outcome = line.exchange(id, &request).await?;
        if matches!(outcome, Err(ConnectError::Disconnected)) {
            self.files.remove()?;
        } else {
            // What was read is passed over when it is read again: no reason to say that a transfer
            // failed, which the wallet may be making.
            let _kept = self.files.replace(&line.session);
        }
        let result = match outcome {
            Ok(Value::String(result)) => result,
            Ok(_) => return Ok(Reply::Unclear(MessageError::Malformed.into())),
            Err(error) if error.leaves_open() => return Ok(Reply::Unclear(error)),
            Err(error) => return Err(error),
        };
        match sender_of(&result) {
            Some(found) if found != self.session.address => {
                Err(ConnectError::OtherSender { found })
            }
            Some(_) | None => Ok(Reply::Sent),
        }
    }

    /// Ends the session: the wallet is told, as far as the bridge does its work, and the key is
    /// forgotten. Gives whether the bridge took the message.
    ///
    /// # Errors
    /// `State`; then the session is still there.
    pub async fn disconnect(self) -> Result<bool, ConnectError> {
        let _lock = self.files.lock()?;
        let told = self.tell_the_end().await;
        self.files.remove()?;
        Ok(told.is_ok())
    }

    async fn tell_the_end(&self) -> Result<(), ConnectError> {
        let mut line = Line::open(self)?;
        let id = line.number()?;
        line.post("disconnect", &message::disconnect_request(id))
            .await
    }
}

/// A session in use; its files are locked.
struct Line<'a> {
    of: &'a Connected,
    session: Session,
    key: SessionKey,
    wallet: ClientId,
    bridge: Bridge,
}

impl<'a> Line<'a> {
    /// As the files say now: another command may have used the session since.
    fn open(of: &'a Connected) -> Result<Self, ConnectError> {
        let session = of.files.read()?.ok_or(ConnectError::Disconnected)?;
        let roots = session.bridge_roots.as_deref();
        Ok(Self {
            bridge: Bridge::new(&session.bridge, roots, &of.surroundings)?,
            key: of.files.key()?,
            wallet: session.wallet_end()?,
            session,
            of,
        })
    }

    /// The number of the next request: on the disk before it is sent, and so never used twice.
    fn number(&mut self) -> Result<u64, ConnectError> {
        let id = self.session.next_request;
        self.session.next_request = id.saturating_add(1);
        self.of.files.replace(&self.session)?;
        Ok(id)
    }

    async fn post(&self, topic: &str, request: &str) -> Result<(), ConnectError> {
        let drawn = self.of.surroundings.random()?;
        let nonce = drawn.first_chunk::<NONCE_BYTES>().ok_or(NoRandomness)?;
        let sealed = self.key.seal(&self.wallet, nonce, request.as_bytes())?;
        let (message, own) = (STANDARD.encode(sealed), self.key.id());
        let posted = self.bridge.post(&own, &self.wallet, topic, message);
        Ok(posted.await?)
    }

    /// Posts a request and waits for its answer. The stream is there before the request is: a
    /// bridge that cannot be listened to is not handed what the owner would sign for nobody.
    ///
    /// # Errors
    /// As long as nothing was posted; the inner error is what came of it afterwards.
    async fn exchange(
        &mut self,
        id: u64,
        request: &str,
    ) -> Result<Result<Value, ConnectError>, ConnectError> {
        let last = self.session.last_bridge_event.clone();
        let mut inbox = Inbox::new(&self.bridge, self.key.id(), last);
        inbox.open().await?;
        match self.post("sendTransaction", request).await {
            // It may have been posted: the answer tells.
            Err(ConnectError::Bridge(error)) if error.is_of_the_line() => {}
            posted => posted?,
        }
        let waiting = answer(&mut inbox, (&self.key, &self.wallet), id, &self.session);
        let answered = tokio::time::timeout(self.of.patience, waiting).await;
        self.session.last_bridge_event.clone_from(&inbox.last);
        Ok(answered.unwrap_or(Err(ConnectError::Silent(self.of.patience))))
    }
}

/// The wallet's answer to one request. What others sent, what was seen before, what answers other
/// requests and what is our own is passed over: the bridge can show it whenever it likes.
async fn answer(
    inbox: &mut Inbox<'_>,
    (key, wallet): (&SessionKey, &ClientId),
    request: u64,
    session: &Session,
) -> Result<Value, ConnectError> {
    loop {
        let envelope = inbox.next().await?;
        if envelope.from != *wallet {
            continue;
        }
        let Ok(text) = key.open(wallet, &envelope.sealed) else {
            continue;
        };
        match FromWallet::parse(&text)? {
            FromWallet::Answer { id, outcome } if id == request.to_string() => {
                return outcome.map_err(ConnectError::of_code);
            }
            FromWallet::Disconnected { id } if id > session.last_event => {
                return Err(ConnectError::Disconnected);
            }
            FromWallet::Answer { .. }
            | FromWallet::Disconnected { .. }
            | FromWallet::Connected { .. }
            | FromWallet::Declined { .. }
            | FromWallet::HandedBack => {}
        }
    }
}

/// The wallet from which a result's message is sent. A result that is no message says nothing: then
/// only the chain can say what was sent.
fn sender_of(result: &str) -> Option<TonAddress> {
    let message = STANDARD.decode(result).ok()?;
    receiver_of_external(&message).ok()
}

/// A wallet is connected already.
pub(super) fn refuse_beside_a_session(state: &StateDirectory) -> Result<(), StateError> {
    let files = SessionFiles::within(state)?;
    match files.read()? {
        Some(_) => Err(files.exists()),
        None => Ok(()),
    }
}
