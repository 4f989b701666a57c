//! Reads of the chain through lite-servers: the encrypted stream, questions and answers, and a
//! reader that compares several servers and believes none (`docs/spec/chain-proofs.md` §7).
//!
//! Not here: what an answer proves, which is `proof`'s; clocks and randomness, which are arguments;
//! where a position is kept.

mod adnl;
mod answers;
mod connection;
mod reader;
mod tl;

pub use adnl::AdnlError;
pub use answers::{AccountAnswer, BlockProof, MasterchainInfo, read_error, read_sent};
pub use connection::{Connection, ConnectionError, LiteServer, LiteServerError, PATIENCE};
pub use reader::{LiteError, LiteReader, MIN_SERVERS, Moment, Position, PositionError};
pub use tl::WireError;
