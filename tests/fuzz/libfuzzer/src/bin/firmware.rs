//! The target `firmware`: `fuzz_targets::images::firmware`.
#![no_main]

use fuzz_targets::images::firmware as target;
use libfuzzer_programs::drive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| drive(target, input));
