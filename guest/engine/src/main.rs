//! The program: takes its two descriptors and runs; says nothing but its exit status.

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use messages::engine_ipc::{ENGINE_FD, ENGINE_MODEL_FD};

/// Whatever this program frees is overwritten.
#[global_allocator]
static HEAP: sys::WipingHeap = sys::WipingHeap;

/// Exit status when a descriptor was not inherited.
const NO_DESCRIPTOR: u8 = 9;

fn main() -> ExitCode {
    // A panic must not print what it was about.
    std::panic::set_hook(Box::new(|_| {}));
    let (Ok(ipc), Ok(model)) = (sys::adopt(ENGINE_FD), sys::adopt(ENGINE_MODEL_FD)) else {
        return ExitCode::from(NO_DESCRIPTOR);
    };
    match engine::run(UnixStream::from(ipc), File::from(model)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ExitCode::from(error.exit_status()),
    }
}
