//! The target `tokenizer`: `fuzz_targets::models::vocabulary`.
#![no_main]

use fuzz_targets::models::vocabulary as target;
use libfuzzer_programs::drive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| drive(target, input));
