//! The target `documents`: `fuzz_targets::releases::documents`.
#![no_main]

use fuzz_targets::releases::documents as target;
use libfuzzer_programs::drive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| drive(target, input));
