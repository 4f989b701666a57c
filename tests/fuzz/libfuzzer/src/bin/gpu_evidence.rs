//! The target `gpu_evidence`: `fuzz_targets::devices::gpu_evidence`.
#![no_main]

use fuzz_targets::devices::gpu_evidence as target;
use libfuzzer_programs::drive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| drive(target, input));
