//! Model files in the format GGUF: a strict check of the header, then candle-core's reader.
//!
//! The model is pinned by digest, yet its bytes come from the host's disk and its author is not
//! ours. candle-core's own reader leaves some of the header unchecked (a zero alignment, a wrapping
//! product of dimensions, duplicates, overlaps), hence `model_format`'s check before it. What is
//! deliberately not here: what keys and tensors mean (`model`, `tokenizer`).

mod file;
#[cfg(test)]
mod tests;

pub(crate) use file::ModelFile;
