//! The program: takes its descriptors, and the names of the model's files as its arguments, and
//! runs; says nothing but its exit status.

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use messages::engine_ipc::{ENGINE_FD, ENGINE_MODEL_FD, MAX_MODEL_FILES};

/// Whatever this program frees is overwritten.
#[global_allocator]
static HEAP: sys::WipingHeap = sys::WipingHeap;

/// Exit status when a descriptor was not inherited, or no file was named.
const NO_DESCRIPTOR: u8 = 9;

fn main() -> ExitCode {
    // A panic must not print what it was about.
    std::panic::set_hook(Box::new(|_| {}));
    sys::gather_in_large_pages();
    let (Ok(ipc), Some(model)) = (sys::adopt(ENGINE_FD), files()) else {
        return ExitCode::from(NO_DESCRIPTOR);
    };
    match engine::run(UnixStream::from(ipc), model) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ExitCode::from(error.exit_status()),
    }
}

/// The model's files, which lie in the order of their names; none unless each is there.
fn files() -> Option<Vec<(String, File)>> {
    let named = (ENGINE_MODEL_FD..).zip(std::env::args_os().skip(1));
    let files = named
        .take(MAX_MODEL_FILES.saturating_add(1))
        .map(|(fd, name)| {
            let file = sys::adopt(fd).ok()?;
            Some((name.into_string().ok()?, File::from(file)))
        });
    let files: Vec<_> = files.collect::<Option<_>>()?;
    (1..=MAX_MODEL_FILES)
        .contains(&files.len())
        .then_some(files)
}
