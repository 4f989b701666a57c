//! Reads of the chain through lite-servers: the encrypted stream, questions and answers, and a
//! reader that compares several servers and believes none (`docs/spec/chain-proofs.md` §7).
//!
//! Not here: what an answer proves, which is `proof`'s; clocks, randomness, and the path of the
//! file that keeps a position, which are arguments.

mod adnl;
mod answers;
mod connection;
mod position;
mod proven;
mod reader;
mod tl;

pub use adnl::AdnlError;
pub use answers::{AccountAnswer, BlockProof, MasterchainInfo, read_error, read_sent};
pub use connection::{Connection, ConnectionError, LiteServer, LiteServerError, PATIENCE};
pub use position::{Position, PositionError, PositionFile};
pub use proven::{ByProof, LiteServers, ProvenAccounts};
pub use reader::{LAGGARDS, LiteError, LiteReader, MIN_SERVERS, Moment, NoRandomness};
pub use tl::WireError;
