//! Time as an argument. Nothing here reads a clock.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use der::DateTime;

use crate::rejection::Rejection;

/// Seconds since 1970-01-01 00:00:00 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// This many seconds later; saturates.
    #[must_use]
    pub const fn plus_seconds(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// Seconds between two times, whichever is the earlier.
    #[must_use]
    pub const fn distance(self, other: Self) -> u64 {
        self.0.abs_diff(other.0)
    }
}

/// `2026-11-26T13:00:00Z`; the seconds where no calendar has that date.
impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::from_unix_duration(Duration::from_secs(self.0)) {
            Ok(date) => date.fmt(f),
            Err(_) => self.0.fmt(f),
        }
    }
}

/// From one second to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: UnixTime,
    pub(crate) until: UnixTime,
}

impl Span {
    /// Nothing lies within.
    pub(crate) const NEVER: Self = Self {
        from: UnixTime(u64::MAX),
        until: UnixTime(0),
    };

    /// Within, the end excluded, which is returned; else the refusal of what is early or late.
    pub(crate) fn check(
        self,
        at: UnixTime,
        [early, late]: [Rejection; 2],
    ) -> Result<UnixTime, Rejection> {
        match at {
            at if at < self.from => Err(early),
            at if at >= self.until => Err(late),
            _ => Ok(self.until),
        }
    }

    /// What lies within both.
    pub(crate) fn overlap(self, other: Self) -> Self {
        Self {
            from: self.from.max(other.from),
            until: self.until.min(other.until),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.from, self.until)
    }
}

/// Text that is no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected unix seconds, or a date such as 2026-11-26T13:00:00Z")]
pub struct TimeError;

impl FromStr for UnixTime {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let date = || {
            let date = text.parse::<DateTime>().ok()?;
            Some(date.unix_duration().as_secs())
        };
        let seconds = text.parse().ok().or_else(date);
        seconds.map(Self).ok_or(TimeError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_as_seconds_or_as_a_date_and_prints_as_a_date() {
        let time = UnixTime(1_795_305_600);
        assert_eq!(time.to_string(), "2026-11-22T00:00:00Z");
        assert_eq!(time.to_string().parse(), Ok(time));
        assert_eq!("1795305600".parse(), Ok(time));
        for text in ["", "-1", "yesterday", "2026-11-22", "2026-13-22T00:00:00Z"] {
            assert_eq!(text.parse::<UnixTime>(), Err(TimeError), "{text}");
        }
        assert_eq!(UnixTime(u64::MAX).to_string(), u64::MAX.to_string());
    }
}
