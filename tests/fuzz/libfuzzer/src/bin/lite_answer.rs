//! The target `lite_answer`: `fuzz_targets::chain::lite_answer`.
#![no_main]

use fuzz_targets::chain::lite_answer as target;
use libfuzzer_programs::drive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| drive(target, input));
