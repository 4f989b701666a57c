//! What lite-servers and their clients say to each other, as bytes.
//!
//! Not here: what an answer is worth, which is `proof`'s.

mod answers;
mod tl;

pub use answers::{AccountAnswer, BlockProof, MasterchainInfo, read_error};
pub use tl::WireError;
