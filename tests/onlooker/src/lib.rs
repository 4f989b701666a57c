//! What a test sees of a running program from outside: whether bytes are in its memory, how large
//! it is, what it spent on processors. A process is named as `/proc` does: by its number, or
//! `self`. What is deliberately not here: starting programs, and what to look for.
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "for tests: a panic is the failure"
)]

use std::fmt::Display;
use std::fs::{self, File};
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

/// Whether any readable page of a process has these bytes.
///
/// # Panics
/// When there is no such process, or it may not be looked at.
#[must_use]
pub fn holds(process: impl Display, needle: &[u8]) -> bool {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let memory = File::open(format!("/proc/{process}/mem")).unwrap();
    maps.lines().any(|line| {
        let mut words = line.split([' ', '-']);
        let mut border = || u64::from_str_radix(words.next().unwrap(), 16).unwrap();
        let (start, end) = (border(), border());
        if !words.next().unwrap().starts_with('r') {
            return false;
        }
        let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
        // The kernel's own pages cannot be read.
        memory.read_exact_at(&mut bytes, start).is_ok()
            && bytes.windows(needle.len()).any(|window| window == needle)
    })
}

/// Bytes of a process that are in memory; none of one that ended.
///
/// # Panics
/// When the kernel says that in another way than it does.
#[must_use]
pub fn resident(process: impl Display) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    kib.map_or(0, |kib| kib.parse::<u64>().unwrap() << 10)
}

/// What all threads of a process that live have spent on processors.
///
/// # Panics
/// When there is no such process.
#[must_use]
pub fn processor_time(process: impl Display) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let spent = tasks.flatten().filter_map(|task| {
        let line = fs::read_to_string(task.path().join("schedstat")).ok()?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(spent.sum())
}

/// The number of the process that a process descriptor of this program stands for.
///
/// # Panics
/// When it stands for none.
#[must_use]
pub fn process_of(descriptor: BorrowedFd<'_>) -> String {
    let descriptor = descriptor.as_raw_fd();
    let facts = fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")).unwrap();
    let process = facts.lines().find_map(|line| line.strip_prefix("Pid:"));
    process.unwrap().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_memory_is_found_and_what_is_not_is_not() {
        let known: Vec<u8> = (0..64_u8).map(|at| at.wrapping_mul(37) ^ 0x5a).collect();
        assert!(holds("self", &known));
        // Made of it anew for each look, and never whole beside it.
        let other: Vec<u8> = known.iter().map(|byte| byte ^ 0xa5).collect();
        let seen = std::process::Command::new("sleep").arg("30").spawn();
        let mut child = seen.unwrap();
        let (found, size) = (holds(child.id(), &other), resident(child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!found && size > 0);
    }

    #[test]
    fn time_on_processors_grows_with_work() {
        let before = processor_time("self");
        while processor_time("self") < before + Duration::from_millis(5) {}
        assert!(resident("self") > 0);
    }
}
