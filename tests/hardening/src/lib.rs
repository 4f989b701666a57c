//! What a kernel must be like, as rows of `image/kernel/hardening.list`, and whether a built one
//! is: its resolved configuration and the command line that its image carries.
//!
//! Deliberately not here: files. The program reads them.
#![forbid(unsafe_code)]

mod kernel;
mod list;
mod score;

pub use kernel::{CommandLine, Configuration};
pub use list::{Grade, ListError, Row, Source, Wish, except, parse};
pub use score::{Finding, LEAST_PERCENT, Report, judge};
