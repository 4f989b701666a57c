//! Where hardware reports come from, and serve's end of the quote socket.
//!
//! What is deliberately not here: composing a Statement (`init`), judging a report (`verifier`),
//! and any source of simulated reports (`tests/research`).
#![forbid(unsafe_code)]

mod quote_client;
pub mod report;
pub mod tsm;

pub use quote_client::{QuoteClient, QuoteError, Quoted, Registered};
pub use report::{ConfigRegister, Report, ReportError, ReportSource};
