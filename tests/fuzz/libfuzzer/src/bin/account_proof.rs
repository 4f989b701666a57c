//! The target `account_proof`: `fuzz_targets::chain::account_proof`.
#![no_main]

use fuzz_targets::chain::account_proof as target;
use libfuzzer_programs::drive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| drive(target, input));
