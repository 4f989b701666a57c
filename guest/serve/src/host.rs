//! serve's connection to the host's control port: endorsements in, events and voucher questions
//! out. `docs/spec/host-control.md`.
//!
//! The host is not trusted: what it sends is bounded and decoded once, its silence is waited for
//! only so long, and nothing of content can be sent to it (the types have no room for it). When it
//! is lost, questions fail and everything else goes on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use messages::host_control::{
    GuestMessage, HostMessage, MAX_FRAME, ServeEvent, StopReason, VoucherDecision,
};
use protocol::endorsements::Endorsements;
use protocol::voucher::SignedVoucher;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{interval, timeout};

use crate::errors::Refusal;
use crate::frames;

/// The host answers a voucher question within this time.
const QUESTION_DEADLINE: Duration = Duration::from_secs(5);
/// The host sends endorsements within this time after start.
const ENDORSEMENTS_DEADLINE: Duration = Duration::from_secs(30);
/// Endorsements are asked for again so often: collateral ages.
const ENDORSEMENTS_PERIOD: Duration = Duration::from_secs(3600);
/// Messages that may wait to be written; events beyond are dropped, questions fail.
const QUEUE: usize = 1024;

type Questions = Arc<Mutex<HashMap<u32, oneshot::Sender<VoucherDecision>>>>;

/// The connections' end of the control port.
#[derive(Clone)]
pub(crate) struct Host {
    queue: mpsc::Sender<GuestMessage>,
    questions: Questions,
    next: Arc<std::sync::atomic::AtomicU32>,
    endorsements: watch::Receiver<Option<Endorsements>>,
}

impl Host {
    /// Starts to speak on a connected stream; the tasks end with it.
    pub(crate) fn start(stream: UnixStream) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let (endorsements_in, endorsements) = watch::channel(None);
        let questions = Questions::default();
        let (from_host, to_host) = stream.into_split();
        tokio::spawn(write(to_host, waiting));
        tokio::spawn(read(from_host, endorsements_in, Arc::clone(&questions)));
        Self {
            queue,
            questions,
            next: Arc::default(),
            endorsements,
        }
    }

    /// The endorsements that the host gave last; waits for the first.
    pub(crate) async fn endorsements(&self) -> Option<Endorsements> {
        let mut watched = self.endorsements.clone();
        let first = watched.wait_for(Option::is_some);
        let first = timeout(ENDORSEMENTS_DEADLINE, first).await.ok()?.ok()?;
        first.clone()
    }

    /// Reports a counter; dropped when the host does not read.
    pub(crate) fn event(&self, event: ServeEvent, value: u32) {
        // A host that does not read loses events, nothing else.
        let _ = self.queue.try_send(GuestMessage::Event(event, value));
    }

    /// Whether the host takes a voucher whose signature holds.
    pub(crate) async fn ask(&self, voucher: &SignedVoucher) -> Result<(), Refusal> {
        let question = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.pending(|pending| pending.insert(question, answer));
        let message = GuestMessage::VoucherQuestion {
            question,
            voucher: Box::new(*voucher),
        };
        let decision = match self.queue.try_send(message) {
            Ok(()) => timeout(QUESTION_DEADLINE, answered).await.ok(),
            Err(_) => None,
        };
        self.pending(|pending| pending.remove(&question));
        match decision.and_then(Result::ok) {
            Some(VoucherDecision::Continue) => Ok(()),
            Some(VoucherDecision::Stop(reason, highest)) => Err(stopped(reason, highest, voucher)),
            None => Err(Refusal::HostSilent),
        }
    }

    fn pending<R>(
        &self,
        act: impl FnOnce(&mut HashMap<u32, oneshot::Sender<VoucherDecision>>) -> R,
    ) -> R {
        act(&mut self
            .questions
            .lock()
            .unwrap_or_else(PoisonError::into_inner))
    }
}

/// The host's highest voucher goes to the client only when the client itself signed it.
fn stopped(
    reason: StopReason,
    highest: Option<Box<SignedVoucher>>,
    asked: &SignedVoucher,
) -> Refusal {
    let of_the_client = highest.filter(|shown| {
        shown.payer_key == asked.payer_key
            && shown.voucher.network == asked.voucher.network
            && shown.voucher.channel == asked.voucher.channel
            && shown.voucher.epoch == asked.voucher.epoch
            && shown.verify().is_ok()
    });
    Refusal::Stopped(reason, of_the_client)
}

async fn write(
    mut to_host: tokio::net::unix::OwnedWriteHalf,
    mut waiting: mpsc::Receiver<GuestMessage>,
) {
    let mut refresh = interval(ENDORSEMENTS_PERIOD);
    loop {
        let message = tokio::select! {
            _ = refresh.tick() => GuestMessage::EndorsementsWanted,
            message = waiting.recv() => match message {
                Some(message) => message,
                None => return,
            },
        };
        if frames::write(&mut to_host, &message.encode())
            .await
            .is_err()
        {
            return;
        }
    }
}

async fn read(
    mut from_host: tokio::net::unix::OwnedReadHalf,
    endorsements: watch::Sender<Option<Endorsements>>,
    questions: Questions,
) {
    // A frame or message that is not of the specified form ends the conversation.
    while let Ok(frame) = frames::read(&mut from_host, MAX_FRAME).await {
        match HostMessage::decode(&frame) {
            Ok(HostMessage::Endorsements(items)) => {
                endorsements.send_replace(Some(items));
            }
            Ok(HostMessage::VoucherAnswer { question, decision }) => {
                let mut pending = questions.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(answer) = pending.remove(&question) {
                    // The asker may have given up.
                    let _ = answer.send(decision);
                }
            }
            Err(_) => return,
        }
    }
}
