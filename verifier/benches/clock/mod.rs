//! The time that this thread has run, which other programs on the machine do not lengthen.

use std::time::{Duration, Instant};

/// Runs something and says how long the thread ran for it; on a kernel that does not count that,
/// how long it took.
pub(crate) fn measure<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let (began, wall) = (thread_time(), Instant::now());
    let done = run();
    let passed = wall.elapsed();
    let ran = thread_time().zip(began).map(|(now, then)| now - then);
    (done, ran.unwrap_or(passed))
}

/// The scheduler's count, brought up to date by giving the processor away.
fn thread_time() -> Option<Duration> {
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds = text.split_ascii_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}
