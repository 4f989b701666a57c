//! Looks for bytes in the memory of a running program.

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use sys::process::Child;

/// Whether any readable page of the program has these bytes.
pub fn program_holds(program: &Child, needle: &[u8]) -> bool {
    holds(&process_of(program), needle)
}

/// The number of a program's process.
pub fn process_of(program: &Child) -> String {
    let descriptor = program.as_fd().as_raw_fd();
    let facts = fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")).unwrap();
    let process = facts.lines().find_map(|line| line.strip_prefix("Pid:"));
    process.unwrap().trim().to_owned()
}

/// What all threads of a process that live have spent on processors.
pub fn processor_time(process: &str) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let spent = tasks.flatten().filter_map(|task| {
        let line = fs::read_to_string(task.path().join("schedstat")).ok()?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(spent.sum())
}

/// Whether any readable page of a process has these bytes.
pub fn holds(process: &str, needle: &[u8]) -> bool {
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
