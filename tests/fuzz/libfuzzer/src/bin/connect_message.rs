//! The target `connect_message`: `fuzz_targets::wallets::message`.
#![no_main]

use fuzz_targets::wallets::message as target;
use libfuzzer_programs::drive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| drive(target, input));
