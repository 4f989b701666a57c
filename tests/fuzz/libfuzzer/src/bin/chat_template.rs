//! The target `chat_template`: `fuzz_targets::requests::template`.
#![no_main]

use fuzz_targets::requests::template as target;
use libfuzzer_programs::drive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| drive(target, input));
