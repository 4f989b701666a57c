//! One agent at a time settles with a wallet: who has the turn in the journal, renewed while a
//! message is under way. Agents on other hosts that share the ledger wait for the next round, so
//! that nothing is claimed by two, and the wallet's sums are those of one.
//!
//! A turn saves fees and keeps the books readable; money does not rest on it. The contract pays a
//! total once, and the wallet's sequence number is good for one message, whoever believes to have
//! the turn. Deliberately not here: what is sent (`claim`, `close`).

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use protocol::ton::TonAddress;
use tokio::time::sleep;

use super::SettleError;
use crate::clock::Clock;
use crate::journal::{Journal, JournalError, Lease};

/// An agent that was killed has the turn for so long.
const TURN_SECONDS: u64 = 60;
/// It is renewed so often.
const RENEW_EVERY: Duration = Duration::from_secs(15);

/// The turn of one agent with one wallet.
#[derive(Debug)]
pub struct Turn {
    wallet: TonAddress,
    holder: String,
    clock: Clock,
}

impl Turn {
    /// Takes the turn; `holder` is a name that no other process has.
    ///
    /// # Errors
    /// `Elsewhere` while another agent has it; `Journal`.
    pub fn take(
        journal: &mut Journal,
        wallet: TonAddress,
        holder: String,
        clock: Clock,
    ) -> Result<Self, SettleError> {
        let turn = Self {
            wallet,
            holder,
            clock,
        };
        match turn.lease(journal)? {
            Lease::Ours | Lease::TakenOver => Ok(turn),
            Lease::Another => Err(SettleError::Elsewhere),
        }
    }

    /// Makes sure of the turn before something is sent.
    ///
    /// # Errors
    /// `Elsewhere` when another agent had it meanwhile: what this one saw of the chain is old.
    pub(super) fn renew(&self, journal: &mut Journal) -> Result<(), SettleError> {
        match self.lease(journal)? {
            Lease::Ours => Ok(()),
            Lease::TakenOver => {
                journal.release_lease(&self.wallet, &self.holder)?;
                Err(SettleError::Elsewhere)
            }
            Lease::Another => Err(SettleError::Elsewhere),
        }
    }

    /// Waits for what is under way, and keeps the turn meanwhile.
    pub(super) async fn keep<T>(
        &self,
        journal: &mut Journal,
        under_way: impl Future<Output = T>,
    ) -> T {
        let mut under_way = pin!(under_way);
        loop {
            tokio::select! {
                done = &mut under_way => return done,
                // When it cannot be renewed now, perhaps the next time: what was sent stays sent.
                () = sleep(RENEW_EVERY) => drop(self.lease(journal)),
            }
        }
    }

    /// Gives the turn back.
    ///
    /// # Errors
    /// [`JournalError`]; it lapses by itself then.
    pub fn end(self, journal: &mut Journal) -> Result<(), JournalError> {
        journal.release_lease(&self.wallet, &self.holder)
    }

    fn lease(&self, journal: &mut Journal) -> Result<Lease, JournalError> {
        let now = self.clock.now();
        journal.take_lease(&self.wallet, &self.holder, now, now.plus(TURN_SECONDS))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::clock::UnixSeconds;
    use crate::samples::PAYEE;

    fn stage() -> (tempfile::TempDir, Journal, Arc<AtomicU64>, Clock) {
        let place = tempfile::tempdir().unwrap();
        let journal = Journal::open(&place.path().join("journal.sqlite")).unwrap();
        let time = Arc::new(AtomicU64::new(1_000));
        let own = Arc::clone(&time);
        let clock = Clock::new(move || UnixSeconds(own.load(Ordering::Relaxed)));
        (place, journal, time, clock)
    }

    #[test]
    fn one_agent_has_a_wallets_turn_until_it_gives_it_back_or_is_gone() {
        let (_place, mut journal, time, clock) = stage();
        let mut take =
            |holder: &str| Turn::take(&mut journal, PAYEE, holder.to_owned(), clock.clone()).ok();
        let first = take("a").unwrap();
        assert!(take("b").is_none());
        first.end(&mut journal).unwrap();
        let mut take =
            |holder: &str| Turn::take(&mut journal, PAYEE, holder.to_owned(), clock.clone()).ok();
        let _killed = take("b").unwrap();
        assert!(take("a").is_none());
        time.fetch_add(TURN_SECONDS, Ordering::Relaxed);
        assert!(take("a").is_some());
    }

    #[test]
    fn an_agent_that_another_one_overtook_sends_nothing_more() {
        let (_place, mut journal, time, clock) = stage();
        let turn = Turn::take(&mut journal, PAYEE, "a".to_owned(), clock.clone()).unwrap();
        turn.renew(&mut journal).unwrap();
        time.fetch_add(TURN_SECONDS, Ordering::Relaxed);
        let other = Turn::take(&mut journal, PAYEE, "b".to_owned(), clock).unwrap();
        let elsewhere = |refused| matches!(refused, Err(SettleError::Elsewhere));
        assert!(elsewhere(turn.renew(&mut journal)));
        other.end(&mut journal).unwrap();
        assert!(
            elsewhere(turn.renew(&mut journal)),
            "the other one may have claimed"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_turn_is_kept_while_a_message_is_under_way() {
        let (_place, mut journal, time, clock) = stage();
        let turn = Turn::take(&mut journal, PAYEE, "a".to_owned(), clock).unwrap();
        let long = async {
            for _ in 0..20 {
                time.fetch_add(30, Ordering::Relaxed);
                sleep(Duration::from_secs(30)).await;
            }
        };
        turn.keep(&mut journal, long).await;
        turn.renew(&mut journal).unwrap();
    }
}
