//! The target `machine_grant`: `fuzz_targets::evidence::machine_grant`.
#![no_main]

use fuzz_targets::evidence::machine_grant as target;
use libfuzzer_programs::drive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| drive(target, input));
