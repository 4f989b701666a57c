//! The inference engine: one model, many answers at once, one socket to serve.
//!
//! It holds no key, opens no file and no other socket, reads no environment variable of its own
//! (candle-core reads some, so init starts it with an empty environment), and writes to nothing
//! but that socket. No prompt or answer is in any error. What is deliberately not here: TLS,
//! HTTP, prices and receipts (`serve`), confinement (`init`, with its list of system calls).

mod answer;
pub mod backend;
pub mod bench;
mod calls;
pub mod door;
mod embedder;
mod files;
#[cfg(test)]
mod fixture;
mod form;
mod format;
mod gguf;
mod ipc;
mod kernels;
mod language;
mod load;
mod model;
mod prefix;
#[cfg(test)]
mod published;
mod refusal;
mod safetensors;
mod scheduler;
mod stream;
mod template;
#[cfg(test)]
mod tests;
mod tokenizer;

use std::fs::File;
use std::num::NonZeroUsize;
use std::os::unix::net::UnixStream;

pub use files::inherited_files;
pub use ipc::{IpcError, answer, answer_on};
pub use language::Language;
pub use load::{Model, Opened};
pub use model::{LayerWeights, Plain, Rows, Sink};
pub use refusal::ModelError;

/// Why the engine ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The model file was refused.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The socket to serve.
    #[error(transparent)]
    Ipc(#[from] IpcError),
    /// The processors that may be used are not known.
    #[error("cannot read the processor mask")]
    Processors,
}

impl RunError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Model(error) => error.code(),
            Self::Ipc(error) => error.code(),
            Self::Processors => "engine-processors",
        }
    }

    /// The status with which the program exits: all that it says when it fails.
    #[must_use]
    pub const fn exit_status(&self) -> u8 {
        match self {
            Self::Model(_) => 10,
            Self::Ipc(_) => 11,
            Self::Processors => 12,
        }
    }
}

/// Reads the model's files, each with its name, closes them, says so, and answers until serve
/// closes the socket.
///
/// # Errors
/// A [`RunError`].
pub fn run(ipc: UnixStream, model: Vec<(String, File)>) -> Result<(), RunError> {
    let threads = available_processors().ok_or(RunError::Processors)?;
    let model = Model::open(model)?;
    Ok(answer(&model, ipc, threads)?)
}

/// The processors that this process may use. The kernel's mask, not
/// `std::thread::available_parallelism`, which looks for control groups in the file system.
#[must_use]
pub fn available_processors() -> Option<NonZeroUsize> {
    let mask = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).ok()?;
    let numbers = 0..nix::sched::CpuSet::count();
    NonZeroUsize::new(
        numbers
            .filter(|number| mask.is_set(*number) == Ok(true))
            .count(),
    )
}
