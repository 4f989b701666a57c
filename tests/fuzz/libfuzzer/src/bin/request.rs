//! The target `request`: `fuzz_targets::requests::request`.
#![no_main]

use fuzz_targets::requests::request as target;
use libfuzzer_programs::drive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| drive(target, input));
