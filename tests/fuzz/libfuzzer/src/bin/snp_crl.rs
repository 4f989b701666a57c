//! The target `snp_crl`: `fuzz_targets::evidence::snp_crl`.
#![no_main]

use fuzz_targets::evidence::snp_crl as target;
use libfuzzer_programs::drive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| drive(target, input));
