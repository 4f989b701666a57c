//! The model: its shape, its weights, and one step of the transformer over a batch of rows.
//!
//! What is deliberately not here: text (`tokenizer`, `template`), sampling, and which request
//! gets which row (`scheduler`).

mod cache;
mod encoder;
mod experts;
#[cfg(test)]
mod families;
mod forward;
mod lanes;
mod matrix;
mod names;
pub(crate) mod plain;
mod pooling;
mod rows;
mod runner;
mod shape;
mod team;
#[cfg(test)]
mod tests;
mod turn;
mod weights;

pub use cache::PAGE;
pub(crate) use cache::{CACHE_BYTES, Geometry, SharedPage, pages_for, pages_held};
pub(crate) use matrix::Layout;
pub(crate) use names::Naming;
pub use plain::{LayerWeights, Plain, Rows, Sink};
pub(crate) use pooling::{NotFinite, Pooled, Pooling};
pub(crate) use rows::Row;
pub use rows::Slot;
pub(crate) use runner::{Runner, with_runner};
pub(crate) use shape::Shape;
pub(crate) use weights::{Stored, TensorSource, Weights, wide};
