//! The target `snp_report`: `fuzz_targets::evidence::snp_report`.
#![no_main]

use fuzz_targets::evidence::snp_report as target;
use libfuzzer_programs::drive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| drive(target, input));
