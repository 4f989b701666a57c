//! The machine's totals for its owner, in Prometheus' text format, on a loopback address.
//!
//! Only sums over all clients, and words of this program: no payment channel, address, path or
//! model, and nothing that a guest chose but integers (`docs/decisions/2026-11-27-what-metrics-may-
//! say.md`). Deliberately not here: a second way to count, since every event passes `report`; and
//! whatever a client may read of its own connection, which is serve's.

mod books;
mod page;
mod port;
mod totals;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use contracts::asset::{Asset, PaymentChannel};
use contracts::chain::Chain;
use protocol::ton::TonAddress;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::clock::{Clock, UnixSeconds};
use crate::journal::Scribe;
use books::Sums;
use page::Page;

pub use port::{MetricsError, open, serve};
pub use totals::Totals;

/// The journal is not read through more often.
const BOOKS_FOR: Duration = Duration::from_secs(10);

/// The chain is asked no longer than this in one reading of the journal.
const ASK_WITHIN: Duration = Duration::from_secs(2);

/// What is told, and where it is looked up.
#[derive(Debug)]
pub struct Metrics {
    totals: Arc<Totals>,
    journal: Scribe,
    chain: Chain,
    state: PathBuf,
    clock: Clock,
    started: UnixSeconds,
    read: Mutex<Option<Read>>,
    /// What channels pay in, as the chain said: their address decides it for good.
    assets: Mutex<HashMap<TonAddress, Asset>>,
}

/// The journal at one moment; none when it could not be read.
#[derive(Debug, Clone)]
struct Read {
    at: Instant,
    sums: Option<Sums>,
}

impl Metrics {
    /// Metrics of an agent that starts now and keeps its state there.
    #[must_use]
    pub fn new(
        totals: Arc<Totals>,
        journal: Scribe,
        chain: Chain,
        state: PathBuf,
        clock: Clock,
    ) -> Self {
        Self {
            started: clock.now(),
            totals,
            journal,
            chain,
            state,
            clock,
            read: Mutex::default(),
            assets: Mutex::default(),
        }
    }

    /// The document. Reads the journal and the disk: not for the thread that serves.
    #[must_use]
    pub fn exposition(&self) -> String {
        let mut page = Page::default();
        page.gauge("agent_start_time_seconds", self.started);
        page.gauge("agent_time_seconds", self.clock.now());
        self.totals.write(&mut page);
        match self.sums() {
            None => page.gauge("journal_readable", 0),
            Some(sums) => {
                page.gauge("journal_readable", 1);
                sums.write(&mut page);
            }
        }
        if let Chain::Proven { accounts, .. } = &self.chain
            && let Ok(height) = accounts.height()
        {
            page.gauge("proven_height", height);
        }
        if let Ok(disk) = nix::sys::statvfs::statvfs(&self.state) {
            let free = disk.blocks_available().saturating_mul(disk.fragment_size());
            page.gauge("state_free_bytes", free);
        }
        page.into_text()
    }

    /// The journal's sums, some seconds old at most.
    fn sums(&self) -> Option<Sums> {
        // Held while the journal is read: who asks at the same time gets the same.
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(read) = read.as_ref().filter(|read| read.at.elapsed() < BOOKS_FOR) {
            return read.sums.clone();
        }
        let until = Instant::now().checked_add(ASK_WITHIN);
        let sums = Sums::of(&self.journal, |channel| self.asset_of(channel, until)).ok();
        *read = Some(Read {
            at: Instant::now(),
            sums: sums.clone(),
        });
        sums
    }

    /// What a channel pays in. The chain is asked once, and again where it did not answer in time.
    fn asset_of(&self, channel: &TonAddress, until: Option<Instant>) -> Option<Asset> {
        let mut assets = self.assets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = assets.get(channel) {
            return Some(*known);
        }
        let left = until?.checked_duration_since(Instant::now())?;
        let asked = async { timeout(left, self.chain.payment_channel(channel)).await };
        let shown = Handle::try_current().ok()?.block_on(asked).ok()?.ok()?;
        let asset = shown.as_ref().map(PaymentChannel::asset)?;
        assets.insert(*channel, asset);
        Some(asset)
    }
}
