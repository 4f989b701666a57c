//! The target `model_directory`: `fuzz_targets::models::directory`.
#![no_main]

use fuzz_targets::models::directory as target;
use libfuzzer_programs::drive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| drive(target, input));
