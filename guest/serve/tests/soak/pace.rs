//! When the visitors visit and when they rest; and what came of all their requests.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What the visitors are to do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Go,
    Rest,
    End,
}

/// Holds all visitors to one beat.
pub(crate) struct Pace {
    state: Mutex<(Word, usize)>,
    changed: Condvar,
}

impl Pace {
    pub(crate) const fn new() -> Self {
        Self {
            state: Mutex::new((Word::Go, 0)),
            changed: Condvar::new(),
        }
    }

    /// Whether a visitor may begin another request.
    pub(crate) fn goes_on(&self) -> bool {
        self.state().0 == Word::Go
    }

    /// Whether a visitor may connect again; waits while all rest.
    pub(crate) fn may_go_on(&self) -> bool {
        let mut state = self.state();
        state.1 += 1;
        self.changed.notify_all();
        while state.0 == Word::Rest {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.1 -= 1;
        state.0 == Word::Go
    }

    /// Has them rest; whether so many do after some time.
    pub(crate) fn rest(&self, visitors: usize, patience: Duration) -> bool {
        let mut state = self.state();
        state.0 = Word::Rest;
        let waited = self
            .changed
            .wait_timeout_while(state, patience, |state| state.1 < visitors);
        waited
            .unwrap_or_else(PoisonError::into_inner)
            .0
            .1
            .eq(&visitors)
    }

    /// Has them go on.
    pub(crate) fn go(&self) {
        self.state().0 = Word::Go;
        self.changed.notify_all();
    }

    /// Has them leave.
    pub(crate) fn end(&self) {
        self.state().0 = Word::End;
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, (Word, usize)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often what was done ended in which way.
#[derive(Default)]
pub(crate) struct Tally(Mutex<BTreeMap<(&'static str, String), u64>>);

impl Tally {
    pub(crate) fn add(&self, what: &'static str, end: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *all.entry((what, end.to_owned())).or_default() += 1;
    }

    pub(crate) fn all(&self) -> BTreeMap<(&'static str, String), u64> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn sum(&self) -> u64 {
        self.all().values().sum()
    }
}
