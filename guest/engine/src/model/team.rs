//! A team of threads that does one task after another, each thread its part.
//!
//! The team lives as long as one call of [`with_team`], so workers can borrow the model, and no
//! thread is made per step. A worker waits a few microseconds awake and then sleeps; with no
//! request the whole process sleeps. What is deliberately not here: what a task computes.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

/// Times that a worker looks for the next task before it sleeps: some microseconds.
const LOOKS: u32 = 400;

/// One of the parts into which a task is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    /// This part, from 0.
    pub(super) index: usize,
    /// All parts.
    pub(super) of: usize,
}

impl Part {
    /// The share of `items` that belongs to this part.
    pub(super) fn share(self, items: usize) -> std::ops::Range<usize> {
        let cut = |index: usize| {
            items
                .saturating_mul(index)
                .checked_div(self.of)
                .unwrap_or(items)
        };
        cut(self.index)..cut(self.index.saturating_add(1))
    }
}

/// What a team can do.
pub(super) trait Work: Sync {
    /// Names one task.
    type Task: Copy + Send;

    /// Does one part of a task.
    fn perform(&self, task: Self::Task, part: Part);
}

/// What is handed out, and who sleeps until it is.
struct Posted<T> {
    /// The current task; none when the team is dissolved.
    task: Option<T>,
    /// Workers that sleep. Waking is a system call, and mostly nobody sleeps.
    sleepers: usize,
}

/// Where tasks are handed out.
struct Board<T> {
    current: Mutex<Posted<T>>,
    posted: Condvar,
    /// Number of the current task.
    round: AtomicU64,
    /// Workers that have not finished the current task.
    busy: AtomicUsize,
}

/// The hand that gives tasks to a team.
pub(super) struct Team<'a, W: Work> {
    work: &'a W,
    board: &'a Board<W::Task>,
    threads: usize,
}

/// Runs `body` with a team of `threads` threads, the calling one included.
pub(super) fn with_team<W: Work, R>(
    work: &W,
    threads: NonZeroUsize,
    body: impl FnOnce(&Team<'_, W>) -> R,
) -> R {
    let threads = threads.get();
    let board = Board {
        current: Mutex::new(Posted {
            task: None,
            sleepers: 0,
        }),
        posted: Condvar::new(),
        round: AtomicU64::new(0),
        busy: AtomicUsize::new(0),
    };
    std::thread::scope(|scope| {
        for index in 1..threads {
            let board = &board;
            let part = Part { index, of: threads };
            scope.spawn(move || serve(work, board, part));
        }
        let _dissolved = Dissolve(&board);
        body(&Team {
            work,
            board: &board,
            threads,
        })
    })
}

impl<W: Work> Team<'_, W> {
    /// Does a task with all threads; returns when every part is done.
    pub(super) fn run(&self, task: W::Task) {
        let own = Part {
            index: 0,
            of: self.threads,
        };
        if self.threads == 1 {
            return self.work.perform(task, own);
        }
        self.board
            .busy
            .store(self.threads.saturating_sub(1), Ordering::Release);
        self.board.post(Some(task));
        self.work.perform(task, own);
        let mut looks = 0_u32;
        while self.board.busy.load(Ordering::Acquire) > 0 {
            // Parts are equal, so the others are about to finish; where threads share a
            // processor, it is given to them.
            looks = looks.saturating_add(1);
            if looks < LOOKS {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }
}

impl<T: Copy> Board<T> {
    fn post(&self, task: Option<T>) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.task = task;
        // Under the lock, or a worker that is about to sleep would miss it.
        self.round.fetch_add(1, Ordering::Release);
        let sleepers = current.sleepers;
        drop(current);
        if sleepers > 0 {
            self.posted.notify_all();
        }
    }

    /// Waits until the round is another than `seen`; none when the team is dissolved.
    fn next(&self, seen: u64) -> Option<(u64, T)> {
        for _ in 0..LOOKS {
            if self.round.load(Ordering::Acquire) != seen {
                break;
            }
            std::hint::spin_loop();
        }
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        while self.round.load(Ordering::Acquire) == seen {
            current.sleepers = current.sleepers.saturating_add(1);
            current = self
                .posted
                .wait(current)
                .unwrap_or_else(PoisonError::into_inner);
            current.sleepers = current.sleepers.saturating_sub(1);
        }
        let round = self.round.load(Ordering::Acquire);
        current.task.map(|task| (round, task))
    }
}

/// Dissolves the team when the body ends, in whatever way.
struct Dissolve<'a, T: Copy>(&'a Board<T>);

impl<T: Copy> Drop for Dissolve<'_, T> {
    fn drop(&mut self) {
        self.0.post(None);
    }
}

/// Counts a part as done in whatever way it ends, so that nobody waits for it forever.
struct Done<'a>(&'a AtomicUsize);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Release);
    }
}

fn serve<W: Work>(work: &W, board: &Board<W::Task>, part: Part) {
    let mut seen = 0;
    while let Some((round, task)) = board.next(seen) {
        let _done = Done(&board.busy);
        seen = round;
        work.perform(task, part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Count {
        done: Vec<AtomicUsize>,
    }

    impl Work for Count {
        type Task = usize;

        fn perform(&self, task: usize, part: Part) {
            for item in part.share(self.done.len()) {
                self.done[item].fetch_add(task, Ordering::Relaxed);
            }
        }
    }

    #[test]
    fn every_item_of_every_task_is_done_once_and_before_the_next() {
        for threads in 1..5 {
            let count = Count {
                done: (0..7).map(|_| AtomicUsize::new(0)).collect(),
            };
            with_team(&count, NonZeroUsize::new(threads).unwrap(), |team| {
                for task in 1..200 {
                    team.run(task);
                    let expected = task * (task + 1) / 2;
                    let found = count.done.iter().map(|done| done.load(Ordering::Relaxed));
                    assert!(found.into_iter().all(|done| done == expected));
                }
            });
        }
    }
}
