//! A door for tests of other rooms: what a bridge and a wallet say, read as this program reads it,
//! for hostile bytes. What comes out says what was taken; nobody can be asked for coins with it.

use contracts::wallet::ShownWallet;
use protocol::ton::{NetworkId, TonAddress};
use verifier::UnixTime;

use super::account::AccountError;
use super::events::{EventError, EventReader};
use super::inbox::Envelope;
use super::message::{FromWallet, MessageError};
use super::proof::Asked;
use super::sealed::ClientId;
use super::sender_of;

/// An event that a bridge passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// The bridge's number for it.
    pub id: Option<String>,
    /// Bytes of what it passes on.
    pub bytes: usize,
    /// Who is said to have sealed it, and the box, where it is an envelope.
    pub envelope: Option<(ClientId, Vec<u8>)>,
}

/// Reads a bridge's stream that arrives in pieces of so many bytes.
///
/// # Errors
/// See [`EventError`]; an inbox gives such a stream up.
pub fn stream(bytes: &[u8], piece: usize) -> Result<Vec<Passed>, EventError> {
    let mut reader = EventReader::default();
    let mut passed = Vec::new();
    for part in bytes.chunks(piece.max(1)) {
        passed.extend(reader.push(part)?.into_iter().map(|event| Passed {
            bytes: event.data.len(),
            envelope: Envelope::parse(&event.data).map(|found| (found.from, found.sealed)),
            id: event.id,
        }));
    }
    Ok(passed)
}

/// What a wallet is asked for when it connects.
#[derive(Debug, Clone, Copy)]
pub struct Connecting<'a> {
    /// On which network it must be.
    pub network: NetworkId,
    /// The host of the program's manifest.
    pub domain: &'a str,
    /// The nonce in the link.
    pub payload: &'a str,
    /// Now.
    pub at: UnixTime,
}

/// What a wallet said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// It connects.
    Connected {
        /// The wallet that it proved to be.
        wallet: Result<ShownWallet, AccountError>,
        /// The program's name, as a terminal is shown it.
        app: String,
    },
    /// It does not connect.
    Declined,
    /// It ends the session.
    Disconnected,
    /// It answers a request.
    Answer {
        /// Which one.
        id: String,
        /// The account that signed, where the answer is such a message.
        sender: Option<TonAddress>,
    },
    /// A request of our own.
    HandedBack,
}

/// Reads what was inside a box.
///
/// # Errors
/// See [`MessageError`].
pub fn message(text: &[u8], asked: Connecting<'_>) -> Result<Said, MessageError> {
    Ok(match FromWallet::parse(text)? {
        FromWallet::Connected { account, .. } => Said::Connected {
            wallet: account.check(
                asked.network,
                Asked {
                    domain: asked.domain,
                    payload: asked.payload,
                    at: asked.at,
                },
            ),
            app: account.app(),
        },
        FromWallet::Declined { .. } => Said::Declined,
        FromWallet::Disconnected { .. } => Said::Disconnected,
        FromWallet::Answer { id, outcome } => Said::Answer {
            sender: outcome.ok().and_then(|result| sender_of(result.as_str()?)),
            id,
        },
        FromWallet::HandedBack => Said::HandedBack,
    })
}
