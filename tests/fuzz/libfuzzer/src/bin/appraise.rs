//! The target `appraise`: `fuzz_targets::evidence::appraise`.
#![no_main]

use fuzz_targets::evidence::appraise as target;
use libfuzzer_programs::drive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| drive(target, input));
