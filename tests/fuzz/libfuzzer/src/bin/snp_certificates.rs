//! The target `snp_certificates`: `fuzz_targets::evidence::snp_certificates`.
#![no_main]

use fuzz_targets::evidence::snp_certificates as target;
use libfuzzer_programs::drive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| drive(target, input));
