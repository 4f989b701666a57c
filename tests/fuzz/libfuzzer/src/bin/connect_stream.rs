//! The target `connect_stream`: `fuzz_targets::wallets::stream`.
#![no_main]

use fuzz_targets::wallets::stream as target;
use libfuzzer_programs::drive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| drive(target, input));
