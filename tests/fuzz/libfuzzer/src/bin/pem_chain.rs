//! The target `pem_chain`: `fuzz_targets::sockets::pem_chain`.
#![no_main]

use fuzz_targets::sockets::pem_chain as target;
use libfuzzer_programs::drive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| drive(target, input));
