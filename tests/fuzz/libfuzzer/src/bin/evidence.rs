//! The target `evidence`: `fuzz_targets::evidence::wire`.
#![no_main]

use fuzz_targets::evidence::wire as target;
use libfuzzer_programs::drive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| drive(target, input));
