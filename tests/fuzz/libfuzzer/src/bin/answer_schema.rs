//! The target `answer_schema`: `fuzz_targets::requests::schema`.
#![no_main]

use fuzz_targets::requests::schema as target;
use libfuzzer_programs::drive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| drive(target, input));
