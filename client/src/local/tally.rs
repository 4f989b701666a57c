//! What happened at the local port, for whoever started it: notices as they come, and counts in
//! Prometheus' text format. No content, and no name that a request or the machine chose.

use core::fmt::Write as _;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::nano::{AmountOverflow, Nano};
use tokio::sync::mpsc;

use super::Notice;
use crate::chat::{Settled, Standing};

/// Prometheus' text format.
pub(super) const TYPE: &str = "text/plain; version=0.0.4";

/// Counts since the port was opened.
#[derive(Debug)]
pub(super) struct Tally {
    notices: mpsc::UnboundedSender<Notice>,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// By path, of those that ask the machine for an answer.
    requests: BTreeMap<&'static str, u64>,
    answers: u64,
    refusals: u64,
    prompt: u64,
    cached: u64,
    completion: u64,
    charged: Nano,
}

impl Tally {
    pub(super) fn new(notices: mpsc::UnboundedSender<Notice>) -> Self {
        Self {
            notices,
            counts: Mutex::default(),
        }
    }

    /// A request for an answer came.
    pub(super) fn asked(&self, path: &'static str) {
        let mut counts = self.counts();
        let count = counts.requests.entry(path).or_default();
        *count = count.saturating_add(1);
    }

    /// An answer, or a choice of one, is whole, and its receipt is kept.
    pub(super) fn settled(&self, settled: &Settled) {
        let receipt = settled.receipt.receipt();
        {
            let mut counts = self.counts();
            counts.answers = counts.answers.saturating_add(1);
            let tokens = &receipt.tokens;
            counts.prompt = counts.prompt.saturating_add(tokens.prompt.into());
            counts.cached = counts.cached.saturating_add(tokens.cached.into());
            counts.completion = counts.completion.saturating_add(tokens.completion.into());
            counts.charged = match counts.charged.plus(receipt.charged) {
                Ok(sum) => sum,
                // Above all coins that there are: it stands still.
                Err(AmountOverflow) => counts.charged,
            };
        }
        self.tell(Notice::Settled {
            kept: settled.kept.clone(),
            charged: receipt.charged.units(),
        });
    }

    /// A request was refused, or an answer broke off.
    pub(super) fn refused(&self, code: String) {
        {
            let mut counts = self.counts();
            counts.refusals = counts.refusals.saturating_add(1);
        }
        self.tell(Notice::Refused { code });
    }

    /// The document.
    pub(super) fn exposition(&self, standing: &Standing) -> String {
        let counts = self.counts();
        let mut page = Page::default();
        page.title("requests_total", "counter");
        for (path, count) in &counts.requests {
            page.labelled("requests_total", "path", path, *count);
        }
        page.counter("answers_total", counts.answers);
        page.counter("refusals_total", counts.refusals);
        page.title("tokens_total", "counter");
        for (class, count) in [
            ("prompt", counts.prompt),
            ("cached", counts.cached),
            ("completion", counts.completion),
        ] {
            page.labelled("tokens_total", "class", class, count);
        }
        page.counter("charged_nano_total", counts.charged);
        drop(counts);
        page.gauge("channel_signed_nano", standing.promised);
        page.gauge("channel_deposit_nano", standing.deposit);
        page.gauge("attested", u8::from(standing.connection.is_some()));
        if let Some(connection) = &standing.connection {
            page.gauge("evidence_age_seconds", connection.evidence_age);
            page.gauge("evidence_seconds_left", connection.evidence_left);
        }
        page.text
    }

    fn tell(&self, notice: Notice) {
        // Nobody listens any more when the program stops.
        let _told = self.notices.send(notice);
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // No code panics while it holds the lock.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A document under way. Writing to a string does not fail.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn title(&mut self, name: &str, kind: &str) {
        let _written = writeln!(self.text, "# TYPE cocoon_{name} {kind}");
    }

    fn labelled(&mut self, name: &str, label: &str, value: &str, count: u64) {
        let _written = writeln!(self.text, "cocoon_{name}{{{label}=\"{value}\"}} {count}");
    }

    fn counter(&mut self, name: &str, value: impl core::fmt::Display) {
        self.title(name, "counter");
        let _written = writeln!(self.text, "cocoon_{name} {value}");
    }

    fn gauge(&mut self, name: &str, value: impl core::fmt::Display) {
        self.title(name, "gauge");
        let _written = writeln!(self.text, "cocoon_{name} {value}");
    }
}
