//! The target `safetensors`: `fuzz_targets::models::safetensors`.
#![no_main]

use fuzz_targets::models::safetensors as target;
use libfuzzer_programs::drive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| drive(target, input));
