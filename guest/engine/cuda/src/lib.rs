//! The engine's arithmetic on NVIDIA GPUs, built for confidential computing: a step of decoding
//! crosses to the device once and back once, always with the same number of bytes, and allocates
//! nothing.
//!
//! The driver library is loaded when it is first asked for; without one, everything but [`driver`]
//! works. What is deliberately not here: the model file, tokens as text, which answer runs when;
//! and any device or model that only pretends (`tests/cuda-lab`).

pub mod decoder;
pub mod device;
pub mod driver;
pub mod layout;
pub mod plan;
pub mod shape;
pub mod step;
pub mod weights;
