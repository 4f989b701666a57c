//! The target `tdx_quote`: `fuzz_targets::evidence::tdx_quote`.
#![no_main]

use fuzz_targets::evidence::tdx_quote as target;
use libfuzzer_programs::drive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| drive(target, input));
