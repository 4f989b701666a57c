//! The relay between the network and the guest: bytes pass, nothing is looked at.
//!
//! What passes is TLS between client and guest; the relay counts bytes and bounds connections and
//! idleness. Deliberately not here: any protocol above bytes, and any address translation for the
//! guest, which has no network.

use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use messages::host_control::TLS_PORT;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::report::{Event, Reporter};

const BUFFER_BYTES: usize = 16 * 1024;
/// The vsock device's answer to `CONNECT` is at most this long.
const MAX_GREETING: usize = 32;

/// Where the guest's TLS end is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuestAddress {
    /// A unix socket that speaks TLS itself, as without a virtual machine.
    Unix(PathBuf),
    /// A vsock device's unix socket: `CONNECT <port>` first.
    Vsock(PathBuf),
}

/// Text that names no guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected unix:PATH or vsock:PATH")]
pub struct GuestAddressError;

impl FromStr for GuestAddress {
    type Err = GuestAddressError;

    fn from_str(text: &str) -> Result<Self, GuestAddressError> {
        match text.split_once(':') {
            Some(("unix", path)) if !path.is_empty() => Ok(Self::Unix(path.into())),
            Some(("vsock", path)) if !path.is_empty() => Ok(Self::Vsock(path.into())),
            Some(_) | None => Err(GuestAddressError),
        }
    }
}

/// What the relay allows.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once; further ones are closed at once.
    pub connections: usize,
    /// A connection on which nothing moved for so long is closed.
    pub idle: Duration,
    /// The guest must answer within this time.
    pub connect: Duration,
}

/// Relays until it is dropped.
pub async fn run(listener: TcpListener, guest: GuestAddress, limits: Limits, reporter: Reporter) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) if open.len() < limits.connections => {
                    let guest = guest.clone();
                    let reporter = reporter.clone();
                    open.spawn(async move {
                        let closed = relay(client, &guest, &limits).await;
                        reporter.report(&Event::RelayClosed {
                            up: closed.up,
                            down: closed.down,
                            end: closed.end.name(),
                        });
                    });
                }
                Ok(_) => reporter.report(&Event::RelayClosed {
                    up: 0,
                    down: 0,
                    end: End::Full.name(),
                }),
                // Out of descriptors: others must close first.
                Err(_) => sleep(Duration::from_millis(100)).await,
            },
            Some(_) = open.join_next() => {}
        }
    }
}

/// How a relayed connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Both sides were done.
    Done,
    /// Nothing moved for too long.
    Idle,
    /// One side broke off.
    Broken,
    /// The guest did not take it.
    NoGuest,
    /// Too many connections.
    Full,
}

impl End {
    /// All of them.
    pub(crate) const ALL: [Self; 5] = [
        Self::Done,
        Self::Idle,
        Self::Broken,
        Self::NoGuest,
        Self::Full,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Idle => "idle",
            Self::Broken => "broken",
            Self::NoGuest => "no-guest",
            Self::Full => "full",
        }
    }
}

struct Closed {
    up: u64,
    down: u64,
    end: End,
}

async fn relay(mut client: TcpStream, guest: &GuestAddress, limits: &Limits) -> Closed {
    let connected = timeout(limits.connect, connect(guest)).await;
    let Ok(Ok(mut guest)) = connected else {
        return Closed {
            up: 0,
            down: 0,
            end: End::NoGuest,
        };
    };
    // Small frames wait for nothing; a failure costs latency only.
    drop(client.set_nodelay(true));
    let flow = Flow {
        idle: limits.idle,
        began: Instant::now(),
        moved_at_ms: AtomicU64::new(0),
    };
    let up = AtomicU64::new(0);
    let down = AtomicU64::new(0);
    let (mut from_client, mut to_client) = client.split();
    let (mut from_guest, mut to_guest) = guest.split();
    let outcome = tokio::try_join!(
        flow.pump(&mut from_client, &mut to_guest, &up),
        flow.pump(&mut from_guest, &mut to_client, &down),
    );
    Closed {
        up: up.into_inner(),
        down: down.into_inner(),
        end: match outcome {
            Ok(_) => End::Done,
            Err(end) => end,
        },
    }
}

/// Both directions of one connection share one idea of idleness.
struct Flow {
    idle: Duration,
    began: Instant,
    moved_at_ms: AtomicU64,
}

impl Flow {
    /// Moves bytes one way until the sender is done, then says so to the receiver.
    async fn pump(
        &self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        count: &AtomicU64,
    ) -> Result<(), End> {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let length = match timeout(self.left(), from.read(&mut buffer)).await {
                Ok(Ok(length)) => length,
                Ok(Err(_)) => return Err(End::Broken),
                Err(_) if self.left().is_zero() => return Err(End::Idle),
                Err(_) => continue,
            };
            self.touch();
            let Some(part) = buffer.get(..length).filter(|part| !part.is_empty()) else {
                return to.shutdown().await.map_err(|_| End::Broken);
            };
            match timeout(self.idle, to.write_all(part)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(End::Broken),
                Err(_) => return Err(End::Idle),
            }
            self.touch();
            let moved = u64::try_from(length).unwrap_or(u64::MAX);
            count.fetch_add(moved, Ordering::Relaxed);
        }
    }

    fn left(&self) -> Duration {
        let still = self
            .elapsed_ms()
            .saturating_sub(self.moved_at_ms.load(Ordering::Relaxed));
        self.idle.saturating_sub(Duration::from_millis(still))
    }

    fn touch(&self) {
        self.moved_at_ms.store(self.elapsed_ms(), Ordering::Relaxed);
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

async fn connect(guest: &GuestAddress) -> io::Result<UnixStream> {
    match guest {
        GuestAddress::Unix(path) => UnixStream::connect(path).await,
        GuestAddress::Vsock(path) => connect_vsock(path).await,
    }
}

/// `CONNECT <port>`, then the device's `OK <number>` line, read byte by byte: what follows belongs
/// to the guest.
async fn connect_vsock(path: &Path) -> io::Result<UnixStream> {
    let mut stream = UnixStream::connect(path).await?;
    stream
        .write_all(format!("CONNECT {TLS_PORT}\n").as_bytes())
        .await?;
    let mut greeting = Vec::new();
    while greeting.len() < MAX_GREETING {
        match stream.read_u8().await? {
            b'\n' if greeting.starts_with(b"OK ") => return Ok(stream),
            b'\n' => break,
            byte => greeting.push(byte),
        }
    }
    Err(io::Error::from(io::ErrorKind::ConnectionRefused))
}
