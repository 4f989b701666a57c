//! The target `gpu_socket`: `fuzz_targets::sockets::gpu_socket`.
#![no_main]

use fuzz_targets::sockets::gpu_socket as target;
use libfuzzer_programs::drive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| drive(target, input));
