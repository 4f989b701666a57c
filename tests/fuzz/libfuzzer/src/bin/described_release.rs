//! The target `described_release`: `fuzz_targets::releases::described_release`.
#![no_main]

use fuzz_targets::releases::described_release as target;
use libfuzzer_programs::drive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| drive(target, input));
