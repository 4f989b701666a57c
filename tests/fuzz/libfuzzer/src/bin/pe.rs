//! The target `pe`: `fuzz_targets::images::pe`.
#![no_main]

use fuzz_targets::images::pe as target;
use libfuzzer_programs::drive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| drive(target, input));
