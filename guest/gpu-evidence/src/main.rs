//! The program: takes its one descriptor and answers; says nothing but its exit status.
#![forbid(unsafe_code)]

use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use gpu_evidence::nvml::Nvml;
use messages::gpu_socket::GPU_EVIDENCE_FD;

/// Exit status when the descriptor was not inherited.
const NO_DESCRIPTOR: u8 = 9;

fn main() -> ExitCode {
    // A panic must not print what it was about.
    std::panic::set_hook(Box::new(|_| {}));
    let Ok(socket) = sys::adopt(GPU_EVIDENCE_FD) else {
        return ExitCode::from(NO_DESCRIPTOR);
    };
    match gpu_evidence::run(UnixStream::from(socket), Nvml::open) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ExitCode::from(error.exit_status()),
    }
}
