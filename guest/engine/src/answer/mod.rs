//! From logits to text: sampling, whole characters, stop strings.
//!
//! What is deliberately not here: where logits come from and where text goes (`scheduler`).

mod likeliest;
mod sampler;
mod stop;
mod utf8;

pub(crate) use likeliest::likeliest;
pub(crate) use sampler::{SampleError, Sampler};
pub(crate) use stop::{Held, StopHolder};
pub(crate) use utf8::Utf8Holder;
