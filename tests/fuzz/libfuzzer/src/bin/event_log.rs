//! The target `event_log`: `fuzz_targets::logs::event_log`.
#![no_main]

use fuzz_targets::logs::event_log as target;
use libfuzzer_programs::drive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| drive(target, input));
