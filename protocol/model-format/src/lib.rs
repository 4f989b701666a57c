//! Strict checks of the headers of model files, before anyone reads them for their meaning.
//!
//! Pure: no I/O, `no_std` with `alloc`. The engine checks what it opens, and `measurements` what
//! it seals, with the same code. A model's author is not trusted: every count, length, shape and
//! offset is compared with a limit before it is used. What is deliberately not here: what keys and
//! tensors mean, and reading their data.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod gguf;
pub mod safetensors;
pub mod sentence;

/// Files of one model, at most: as many as init opens for engine (`MAX_MODEL_FILES` of
/// `messages::engine_ipc`; a build of engine fails where the two differ).
pub const MAX_FILES: usize = 56;
