//! The program: takes its descriptors, the names of the model's files as its arguments and the
//! kernels of the measured root, and runs; says nothing but its exit status.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

use messages::engine_ipc::ENGINE_FD;

/// Whatever this program frees is overwritten.
#[global_allocator]
static HEAP: sys::WipingHeap = sys::WipingHeap;

/// Exit status when a descriptor was not inherited, or no file was named.
const NO_DESCRIPTOR: u8 = 9;
/// Exit status when the kernels cannot be read.
const NO_KERNELS: u8 = 15;

/// Where init lets this program see its kernels (`guest/init/src/confinement/view.rs`).
const KERNELS: &str = "/kernels";
/// Those of a step.
const NAMES: [&str; 3] = ["product", "attention", "rows"];
/// A file of kernels is at most so long.
const MOST_KERNELS: u64 = 64 << 20;

fn main() -> ExitCode {
    // A panic must not print what it was about.
    std::panic::set_hook(Box::new(|_| {}));
    sys::gather_in_large_pages();
    let (Ok(ipc), Some(model)) = (sys::adopt(ENGINE_FD), engine::inherited_files()) else {
        return ExitCode::from(NO_DESCRIPTOR);
    };
    let Ok(kernels) = kernels() else {
        return ExitCode::from(NO_KERNELS);
    };
    match engine_gpu::run(UnixStream::from(ipc), model, &kernels) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ExitCode::from(error.exit_status()),
    }
}

fn kernels() -> std::io::Result<Vec<Vec<u8>>> {
    let read = |name: &str| {
        let file = File::open(Path::new(KERNELS).join(format!("{name}.cubin")))?;
        let mut bytes = Vec::new();
        file.take(MOST_KERNELS).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    NAMES.into_iter().map(read).collect()
}
