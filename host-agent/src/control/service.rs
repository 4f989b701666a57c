//! The service behind the control port's socket: frames in, frames out, everything bounded.
//!
//! Needs a single-threaded runtime: there, tasks begin in the order in which they were spawned, and
//! so do the questions of one payment channel. Deliberately not here: what is answered (`channels`,
//! `endorsements`).

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use messages::boot::{BootFailure, BootPhase};
use messages::framing::{self, FrameTooLong, HEADER_BYTES};
use messages::host_control::{GuestMessage, HostMessage, StopReason, VoucherDecision};
use nix::unistd::geteuid;
use protocol::codec::DecodeError;
use protocol::voucher::SignedVoucher;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::bucket::Bucket;
use super::channels::Channels;
use super::endorsements;
use crate::report::{Event, Reporter};

/// A guest's frame is at most this long: the longest message is a voucher question.
pub const MAX_GUEST_FRAME: usize = 512;
/// Connections at once: init, serve, and room for one of each that has not noticed its end yet.
const MAX_CONNECTIONS: usize = 4;
/// Questions of one connection under way at once.
const MAX_QUESTIONS: usize = 32;
/// A frame that began must be there after this time.
const FRAME_WITHIN: Duration = Duration::from_secs(10);
/// An answer must be taken within this time.
const WRITE_WITHIN: Duration = Duration::from_secs(30);
const MESSAGE_BURST: u32 = 2000;
const MESSAGE_EVERY: Duration = Duration::from_millis(1);
const REPORT_BURST: u32 = 200;
const REPORT_EVERY: Duration = Duration::from_millis(50);
const ENDORSEMENT_BURST: u32 = 10;
const ENDORSEMENT_EVERY: Duration = Duration::from_millis(500);

/// How far the guest's boot came, by its own word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootProgress {
    /// It is not ready yet.
    Booting,
    /// It takes requests.
    Ready,
    /// A phase failed.
    Failed(BootPhase, BootFailure),
}

/// Why a connection was closed.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error("frame too long")]
    TooLong(#[from] FrameTooLong),
    #[error("malformed message")]
    Decode(#[from] DecodeError),
    #[error("the connection broke")]
    Io(#[from] std::io::Error),
    #[error("a frame did not end in time")]
    Slow,
}

impl ConnectionError {
    /// The stable code; none for an end that is nobody's fault.
    const fn code(&self) -> Option<&'static str> {
        match self {
            Self::TooLong(_) => Some("control-frame-too-long"),
            Self::Decode(error) => Some(error.code()),
            Self::Slow => Some("control-frame-slow"),
            Self::Io(_) => None,
        }
    }
}

/// The control service of one guest.
#[derive(Debug)]
pub struct ControlService {
    channels: Channels,
    endorsements: PathBuf,
    reporter: Reporter,
    progress: watch::Sender<BootProgress>,
    rates: Mutex<Rates>,
}

#[derive(Debug)]
struct Rates {
    messages: Bucket,
    reports: Bucket,
    endorsements: Bucket,
}

impl ControlService {
    /// A service that staples what lies in the directory `endorsements`.
    #[must_use]
    pub fn new(channels: Channels, endorsements: PathBuf, reporter: Reporter) -> Self {
        let now = Instant::now();
        Self {
            channels,
            endorsements,
            reporter,
            progress: watch::Sender::new(BootProgress::Booting),
            rates: Mutex::new(Rates {
                messages: Bucket::new(MESSAGE_BURST, MESSAGE_EVERY, now),
                reports: Bucket::new(REPORT_BURST, REPORT_EVERY, now),
                endorsements: Bucket::new(ENDORSEMENT_BURST, ENDORSEMENT_EVERY, now),
            }),
        }
    }

    /// Follows the guest's boot.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<BootProgress> {
        self.progress.subscribe()
    }

    /// The payment channels that are answered for.
    #[must_use]
    pub const fn channels(&self) -> &Channels {
        &self.channels
    }

    /// Takes connections until it is dropped. A connection beyond the limit is closed at once.
    pub async fn run(self: Arc<Self>, listener: UnixListener) {
        let mut open = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) if open.len() < MAX_CONNECTIONS && is_ours(&stream) => {
                        let service = Arc::clone(&self);
                        open.spawn(async move { service.connection(stream).await });
                    }
                    Ok(_) => {}
                    // Out of descriptors: others must close first.
                    Err(_) => sleep(Duration::from_millis(100)).await,
                },
                Some(_) = open.join_next() => {}
            }
        }
    }

    async fn connection(self: Arc<Self>, stream: UnixStream) {
        let (reader, writer) = stream.into_split();
        let (answers, waiting) = mpsc::channel(MAX_QUESTIONS);
        let outcome = tokio::select! {
            outcome = Arc::clone(&self).read(reader, answers) => outcome,
            outcome = write(writer, waiting) => outcome,
        };
        if let Err(code) = outcome.map_err(|error| error.code())
            && let Some(code) = code
        {
            self.report(&Event::ControlRefused { code });
        }
    }

    async fn read(
        self: Arc<Self>,
        mut from: impl AsyncRead + Unpin,
        answers: mpsc::Sender<HostMessage>,
    ) -> Result<(), ConnectionError> {
        let room = Arc::new(Semaphore::new(MAX_QUESTIONS));
        let mut questions = JoinSet::new();
        while let Some(payload) = read_frame(&mut from).await? {
            self.wait(|rates| &mut rates.messages).await;
            match GuestMessage::decode(&payload)? {
                GuestMessage::PhasePassed(phase, guest_ms) => self.phase_passed(phase, guest_ms),
                GuestMessage::PhaseFailed(phase, failure) => self.phase_failed(phase, failure),
                GuestMessage::Event(event, value) => self.report(&Event::Counter(event, value)),
                GuestMessage::EndorsementsWanted => {
                    self.wait(|rates| &mut rates.endorsements).await;
                    let answer = self.staple().await;
                    if answers.send(answer).await.is_err() {
                        return Ok(());
                    }
                }
                GuestMessage::VoucherQuestion { question, voucher } => {
                    let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
                        return Ok(());
                    };
                    while questions.try_join_next().is_some() {}
                    let service = Arc::clone(&self);
                    let answers = answers.clone();
                    questions.spawn(async move {
                        let decision = service.decide(&voucher).await;
                        // The connection may have ended meanwhile.
                        drop(
                            answers
                                .send(HostMessage::VoucherAnswer { question, decision })
                                .await,
                        );
                        drop(permit);
                    });
                }
            }
        }
        // What was asked is stored, even if nobody waits for the answer any more.
        questions.detach_all();
        Ok(())
    }

    async fn decide(&self, voucher: &SignedVoucher) -> VoucherDecision {
        let decision = self.channels.answer(voucher).await;
        let promised = &voucher.voucher;
        match &decision {
            VoucherDecision::Continue => self.report(&Event::VoucherStored {
                channel: promised.channel,
                epoch: promised.epoch,
                cumulative: promised.cumulative,
            }),
            VoucherDecision::Stop(reason, _) => self.stopped(voucher, *reason),
        }
        decision
    }

    fn stopped(&self, voucher: &SignedVoucher, reason: StopReason) {
        self.report(&Event::ChannelStopped {
            channel: voucher.voucher.channel,
            reason,
        });
    }

    async fn staple(&self) -> HostMessage {
        let directory = self.endorsements.clone();
        let read = tokio::task::spawn_blocking(move || endorsements::read(&directory)).await;
        let found = match read {
            Ok(Ok(found)) => found,
            Ok(Err(_)) | Err(_) => {
                let code = "endorsements-unreadable";
                self.report(&Event::ControlRefused { code });
                protocol::endorsements::Endorsements::default()
            }
        };
        let bytes = found.encode().len();
        self.report(&Event::EndorsementsStapled { bytes });
        HostMessage::Endorsements(found)
    }

    fn phase_passed(&self, phase: BootPhase, guest_ms: u32) {
        self.report(&Event::PhasePassed { phase, guest_ms });
        if phase == BootPhase::Ready {
            self.advance(BootProgress::Ready);
        }
    }

    fn phase_failed(&self, phase: BootPhase, failure: BootFailure) {
        self.report(&Event::PhaseFailed { phase, failure });
        self.advance(BootProgress::Failed(phase, failure));
    }

    /// The first failure stays: nothing that a guest says afterwards counts.
    fn advance(&self, to: BootProgress) {
        self.progress.send_if_modified(|progress| match progress {
            BootProgress::Failed(..) => false,
            BootProgress::Booting | BootProgress::Ready => {
                let changed = *progress != to;
                *progress = to;
                changed
            }
        });
    }

    /// Reports within the rate; a guest cannot fill the operator's log.
    fn report(&self, event: &Event) {
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        let free = rates.reports.try_take(Instant::now());
        drop(rates);
        if free {
            self.reporter.report(event);
        } else {
            self.reporter.count(event);
        }
    }

    async fn wait(&self, which: impl FnOnce(&mut Rates) -> &mut Bucket) {
        let pause = {
            let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
            which(&mut rates).take(Instant::now())
        };
        if !pause.is_zero() {
            sleep(pause).await;
        }
    }
}

/// Whether the peer is this user or root; the directory is closed to others already.
fn is_ours(stream: &UnixStream) -> bool {
    let own = geteuid().as_raw();
    stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

/// The next frame's payload; none when the peer closed between frames.
async fn read_frame(
    from: &mut (impl AsyncRead + Unpin),
) -> Result<Option<Vec<u8>>, ConnectionError> {
    let mut first = [0; 1];
    if from.read(&mut first).await? == 0 {
        return Ok(None);
    }
    let finish = async {
        let mut header = [0; HEADER_BYTES];
        for (at, byte) in header.iter_mut().enumerate() {
            *byte = match first {
                [first] if at == 0 => first,
                [_] => from.read_u8().await?,
            };
        }
        let length = framing::payload_length(header, MAX_GUEST_FRAME)?;
        let mut payload = vec![0; length];
        from.read_exact(&mut payload).await?;
        Ok(Some(payload))
    };
    timeout(FRAME_WITHIN, finish)
        .await
        .unwrap_or(Err(ConnectionError::Slow))
}

async fn write(
    mut to: impl AsyncWrite + Unpin,
    mut answers: mpsc::Receiver<HostMessage>,
) -> Result<(), ConnectionError> {
    while let Some(answer) = answers.recv().await {
        let frame = framing::frame(&answer.encode());
        timeout(WRITE_WITHIN, to.write_all(&frame))
            .await
            .map_err(|_| ConnectionError::Slow)??;
    }
    Ok(())
}
