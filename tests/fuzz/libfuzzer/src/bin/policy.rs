//! The target `policy`: `fuzz_targets::evidence::policy`.
#![no_main]

use fuzz_targets::evidence::policy as target;
use libfuzzer_programs::drive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| drive(target, input));
