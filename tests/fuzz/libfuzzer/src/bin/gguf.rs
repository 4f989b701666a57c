//! The target `gguf`: `fuzz_targets::models::gguf`.
#![no_main]

use fuzz_targets::models::gguf as target;
use libfuzzer_programs::drive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| drive(target, input));
