//! One connection to one lite-server: one question at a time, each within bounds.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use protocol::digest::{parse_hex, write_hex};
use protocol::ton::TonAddress;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::adnl::{self, AdnlError, Noise, Receiver, Sender};
use super::answers::{AccountAnswer, BlockProof, MasterchainInfo, read_error, read_sent};
use super::tl::{Reader, WireError, Writer};
use crate::proof::BlockId;

/// A connection is made, or a question answered, within this time.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Frames that answer no question of ours, one after the other, at most.
const STRAYS: usize = 8;

const MESSAGE_QUERY: u32 = 0xb48b_f97a;
const MESSAGE_ANSWER: u32 = 0x0fac_8416;
const QUERY: u32 = 0x798c_06df;
const GET_MASTERCHAIN_INFO: u32 = 0x89b5_e62e;
const GET_BLOCK_PROOF: u32 = 0x8aea_9c44;
/// The target is given.
const WITH_TARGET: u32 = 1;
const GET_ACCOUNT_STATE: u32 = 0x6b89_0e25;
const SEND_MESSAGE: u32 = 0x690a_d482;

/// Where a lite-server is, and by which key it is known.
#[derive(Clone, PartialEq, Eq)]
pub struct LiteServer {
    key: [u8; 32],
    /// `host:port`.
    address: String,
}

/// Text that is not `key@host:port`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a lite-server as `key@host:port`, the key as 64 lower-case hex digits")]
pub struct LiteServerError;

impl LiteServer {
    /// Whether both are one server under two names, or two keys in one place: it would agree with
    /// itself.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.key == other.key || self.address == other.address
    }
}

impl FromStr for LiteServer {
    type Err = LiteServerError;

    fn from_str(text: &str) -> Result<Self, LiteServerError> {
        let (key, address) = text.split_once('@').ok_or(LiteServerError)?;
        let (host, port) = address.rsplit_once(':').ok_or(LiteServerError)?;
        let port: u16 = port.parse().map_err(|_| LiteServerError)?;
        if host.is_empty() || port == 0 {
            return Err(LiteServerError);
        }
        Ok(Self {
            key: parse_hex(key).map_err(|_| LiteServerError)?,
            address: address.to_owned(),
        })
    }
}

impl fmt::Display for LiteServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.key, f)?;
        write!(f, "@{}", self.address)
    }
}

impl fmt::Debug for LiteServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a server gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// No connection, or it broke.
    #[error("cannot reach the lite-server")]
    Unreachable(#[source] std::io::Error),
    /// It took longer than [`PATIENCE`].
    #[error("no answer from the lite-server within {PATIENCE:?}")]
    TimedOut,
    /// The encrypted stream.
    #[error(transparent)]
    Adnl(#[from] AdnlError),
    /// The answer's bytes.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The server refused. Its text is not looked at.
    #[error("lite-server refused with code {code}")]
    Refused {
        /// Its code.
        code: i32,
    },
    /// Frame after frame that answers nothing.
    #[error("lite-server sends what was not asked for")]
    Strays,
}

impl ConnectionError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "lite-unreachable",
            Self::TimedOut => "lite-timed-out",
            Self::Adnl(AdnlError::ServerKey) => "lite-server-key",
            Self::Adnl(AdnlError::FrameLength { .. }) => "lite-frame-length",
            Self::Adnl(AdnlError::Damaged) => "lite-damaged",
            Self::Wire(error) => error.code(),
            Self::Refused { .. } => "lite-refused",
            Self::Strays => "lite-strays",
        }
    }
}

/// An open connection.
pub struct Connection {
    stream: TcpStream,
    sender: Sender,
    receiver: Receiver,
    noise: Noise,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects. `seed` is 32 random bytes for this connection alone.
    ///
    /// # Errors
    /// See [`ConnectionError`].
    pub async fn open(server: &LiteServer, seed: [u8; 32]) -> Result<Self, ConnectionError> {
        let mut noise = Noise::new(seed);
        let (own, session) = (noise.draw(), noise.session());
        let (hello, sender, receiver) = adnl::greet(&server.key, &own, &session)?;
        let opening = async {
            let mut stream = TcpStream::connect(&server.address).await?;
            stream.write_all(&hello).await?;
            Ok::<_, std::io::Error>(stream)
        };
        let stream = within(opening)
            .await?
            .map_err(ConnectionError::Unreachable)?;
        let mut connection = Self {
            stream,
            sender,
            receiver,
            noise,
        };
        // An empty frame says that the server took the greeting.
        within(connection.receive()).await??;
        Ok(connection)
    }

    /// The last block that the server knows, as it says.
    ///
    /// # Errors
    /// See [`ConnectionError`].
    pub async fn masterchain_info(&mut self) -> Result<MasterchainInfo, ConnectionError> {
        let mut question = Writer::default();
        question.u32(GET_MASTERCHAIN_INFO);
        Ok(MasterchainInfo::read(&self.ask(question).await?)?)
    }

    /// Links from a known key block towards a later block.
    ///
    /// # Errors
    /// See [`ConnectionError`].
    pub async fn block_proof(
        &mut self,
        known: &BlockId,
        target: &BlockId,
    ) -> Result<BlockProof, ConnectionError> {
        let mut question = Writer::default();
        question.u32(GET_BLOCK_PROOF).u32(WITH_TARGET);
        question.block(known).block(target);
        Ok(BlockProof::read(&self.ask(question).await?)?)
    }

    /// An account at a masterchain block, with its proofs.
    ///
    /// # Errors
    /// See [`ConnectionError`].
    pub async fn account(
        &mut self,
        at: &BlockId,
        address: &TonAddress,
    ) -> Result<AccountAnswer, ConnectionError> {
        let mut question = Writer::default();
        question.u32(GET_ACCOUNT_STATE).block(at);
        question.u32(i32::from(address.workchain).cast_unsigned());
        question.raw(address.account.as_bytes());
        Ok(AccountAnswer::read(&self.ask(question).await?)?)
    }

    /// Hands an external message to the server. Success says that it passed the message on, not
    /// what came of it.
    ///
    /// # Errors
    /// See [`ConnectionError`]; `Refused` also when the receiver does not accept the message.
    pub async fn send(&mut self, message: &[u8]) -> Result<(), ConnectionError> {
        let mut question = Writer::default();
        question.u32(SEND_MESSAGE).bytes(message);
        Ok(read_sent(&self.ask(question).await?)?)
    }

    async fn ask(&mut self, question: Writer) -> Result<Vec<u8>, ConnectionError> {
        let id = self.noise.draw();
        let mut query = Writer::default();
        query.u32(QUERY).bytes(&question.finish());
        let mut message = Writer::default();
        message.u32(MESSAGE_QUERY).raw(&id).bytes(&query.finish());
        let frame = self.sender.frame(&message.finish(), self.noise.draw())?;
        let answer = within(self.exchange(&frame, &id)).await??;
        match read_error(&answer) {
            Some(code) => Err(ConnectionError::Refused { code }),
            None => Ok(answer),
        }
    }

    async fn exchange(&mut self, frame: &[u8], id: &[u8; 32]) -> Result<Vec<u8>, ConnectionError> {
        let sent = self.stream.write_all(frame).await;
        sent.map_err(ConnectionError::Unreachable)?;
        for _ in 0..STRAYS {
            let content = self.receive().await?;
            let mut reader = Reader::new(&content);
            if reader.expect(MESSAGE_ANSWER).is_ok() && reader.array::<32>()? == *id {
                let answer = reader.bytes()?.to_vec();
                reader.finish()?;
                return Ok(answer);
            }
        }
        Err(ConnectionError::Strays)
    }

    async fn receive(&mut self) -> Result<Vec<u8>, ConnectionError> {
        let mut length = [0; 4];
        let read = self.stream.read_exact(&mut length).await;
        read.map_err(ConnectionError::Unreachable)?;
        let mut frame = vec![0; self.receiver.length(length)?];
        let read = self.stream.read_exact(&mut frame).await;
        read.map_err(ConnectionError::Unreachable)?;
        Ok(self.receiver.content(frame)?)
    }
}

async fn within<T>(work: impl Future<Output = T>) -> Result<T, ConnectionError> {
    timeout(PATIENCE, work)
        .await
        .map_err(|_| ConnectionError::TimedOut)
}
