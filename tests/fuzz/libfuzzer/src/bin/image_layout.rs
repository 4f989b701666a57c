//! The target `image_layout`: `fuzz_targets::images::layout`.
#![no_main]

use fuzz_targets::images::layout as target;
use libfuzzer_programs::drive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| drive(target, input));
