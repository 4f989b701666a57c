//! What stands in for an NVIDIA GPU, and for a model on one: a device that counts, the toll of
//! confidential mode on any device, weights from a seed, and what each kernel computes, on the CPU.
//!
//! Apart from `engine-cuda`, so that no program of an image can be linked with a device that only
//! pretends: a test in `tests/layering` holds it. What is deliberately not here: a kernel, a call
//! of the driver.
#![forbid(unsafe_code)]

pub mod journal;
pub mod mock;
pub mod reference;
pub mod seeded;
pub mod simulated;
pub mod toll;
