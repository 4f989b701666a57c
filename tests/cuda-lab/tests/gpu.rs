//! Every kernel on a GPU against its reference on the CPU: `COCOON_CUDA_KERNELS` names the
//! directory that `image/build-kernels` prints. Inputs are random, outputs poisoned before.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::print_stderr,
    reason = "tests state claims; a panic is the failure"
)]

#[path = "gpu/lab.rs"]
mod lab;
#[path = "gpu/model.rs"]
mod model;
#[path = "gpu/products.rs"]
mod products;
#[path = "gpu/rows.rs"]
mod rows;
