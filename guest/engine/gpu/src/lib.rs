//! The inference engine of images for GPUs: the engine's socket, scheduler and text, and a GPU that
//! computes in the processors' place.
//!
//! A program of its own, so that the engine of images without GPUs holds no binding of a driver
//! and no Cargo feature chooses. What is deliberately not here: kernels (`engine-cuda`), sampling
//! in any way that the kernels do not know, which is refused by its name.
#![forbid(unsafe_code)]

pub mod backend;
pub mod load;
mod pages;

use std::fs::File;
use std::os::unix::net::UnixStream;

use engine::{IpcError, ModelError, Opened};
use engine_cuda::device::DeviceError;
use engine_cuda::driver::Gpu;
use engine_cuda::shape::Unsupported;

/// Why the engine ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The model's files were refused.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The socket to serve, or the GPU while it computed.
    #[error(transparent)]
    Ipc(#[from] IpcError),
    /// There are no kernels for this shape.
    #[error(transparent)]
    Shape(#[from] Unsupported),
    /// The GPU, before it computed anything.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

impl RunError {
    /// The status with which the program exits: all that it says when it fails.
    #[must_use]
    pub const fn exit_status(&self) -> u8 {
        match self {
            Self::Model(_) => 10,
            Self::Ipc(_) => 11,
            Self::Shape(_) => 13,
            Self::Device(_) => 14,
        }
    }
}

/// Reads the model's files, each with its name, into the first GPU's memory, closes them, says so,
/// and answers until serve closes the socket.
///
/// # Errors
/// A [`RunError`].
pub fn run(
    ipc: UnixStream,
    model: Vec<(String, File)>,
    kernels: &[Vec<u8>],
) -> Result<(), RunError> {
    let opened = Opened::open(model)?;
    let (language, backend) = load::onto(opened, || Gpu::open(kernels))?;
    Ok(engine::answer_on(&language, backend, ipc)?)
}
