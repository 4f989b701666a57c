//! The target `tdx_collateral`: `fuzz_targets::evidence::tdx_collateral`.
#![no_main]

use fuzz_targets::evidence::tdx_collateral as target;
use libfuzzer_programs::drive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| drive(target, input));
