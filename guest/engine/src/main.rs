//! The program: takes its descriptors, and the names of the model's files as its arguments, and
//! runs; says nothing but its exit status.

use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use messages::engine_ipc::ENGINE_FD;

/// Whatever this program frees is overwritten.
#[global_allocator]
static HEAP: sys::WipingHeap = sys::WipingHeap;

/// Exit status when a descriptor was not inherited, or no file was named.
const NO_DESCRIPTOR: u8 = 9;

fn main() -> ExitCode {
    // A panic must not print what it was about.
    std::panic::set_hook(Box::new(|_| {}));
    sys::gather_in_large_pages();
    let (Ok(ipc), Some(model)) = (sys::adopt(ENGINE_FD), engine::inherited_files()) else {
        return ExitCode::from(NO_DESCRIPTOR);
    };
    match engine::run(UnixStream::from(ipc), model) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ExitCode::from(error.exit_status()),
    }
}
