//! A bounded rate: so many at once, so many a second after that.
//!
//! Deliberately not here: waiting and clocks; the moment is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// A supply of tokens that refills with time.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Time that one token takes to come back.
    every: Duration,
    /// Time that a full supply takes.
    full: Duration,
    /// The supply counts as full at this moment, and emptier the further off it is.
    full_at: Instant,
}

impl Bucket {
    /// A full supply of `burst` tokens, of which one comes back `every` so often.
    pub(super) fn new(burst: u32, every: Duration, now: Instant) -> Self {
        Self {
            every,
            full: every.saturating_mul(burst),
            full_at: now,
        }
    }

    /// Takes a token, and says how long to wait before using it.
    pub(super) fn take(&mut self, now: Instant) -> Duration {
        let wait = self.until_next(now);
        self.full_at = add(self.full_at.max(now), self.every);
        wait
    }

    /// Takes a token if there is one.
    pub(super) fn try_take(&mut self, now: Instant) -> bool {
        let free = self.until_next(now).is_zero();
        if free {
            self.full_at = add(self.full_at.max(now), self.every);
        }
        free
    }

    fn until_next(&self, now: Instant) -> Duration {
        let after_this = add(self.full_at.max(now), self.every);
        after_this
            .saturating_duration_since(now)
            .saturating_sub(self.full)
    }
}

fn add(at: Instant, by: Duration) -> Instant {
    at.checked_add(by).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_then_the_rate_holds() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut bucket = Bucket::new(3, second, start);
        for _ in 0..3 {
            assert!(bucket.try_take(start));
        }
        assert!(!bucket.try_take(start));
        assert_eq!(bucket.take(start), second);
        assert_eq!(bucket.take(start), second * 2);
        assert!(!bucket.try_take(start + second));
        assert!(bucket.try_take(start + second * 3));
        let later = start + second * 100;
        for _ in 0..3 {
            assert!(bucket.try_take(later));
        }
        assert!(!bucket.try_take(later));
    }
}
