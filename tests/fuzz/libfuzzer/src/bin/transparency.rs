//! The target `transparency`: `fuzz_targets::releases::transparency`.
#![no_main]

use fuzz_targets::releases::transparency as target;
use libfuzzer_programs::drive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| drive(target, input));
