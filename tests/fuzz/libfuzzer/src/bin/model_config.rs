//! The target `model_config`: `fuzz_targets::models::config`.
#![no_main]

use fuzz_targets::models::config as target;
use libfuzzer_programs::drive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| drive(target, input));
