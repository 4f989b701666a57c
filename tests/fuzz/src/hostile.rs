//! Inputs made to cost more than they weigh: lengths that nothing stands behind, structures that
//! overlap or point at themselves, and the longest input that is read, filled with what its parser
//! keeps. Each is refused, unless the row says that it is taken; all within their bounds
//! (`tests/bounds.rs` for memory, `benches/bounds.rs` for time).

mod chain;
mod evidence;
mod images;
mod models;
mod releases;
mod requests;
mod sockets;
mod wallets;

use crate::Outcome;

/// One such input.
#[derive(Debug, Clone, Copy)]
pub struct Hostile {
    /// What is attacked.
    pub parser: &'static str,
    /// How.
    pub what: &'static str,
    /// Makes the input.
    pub make: fn() -> Vec<u8>,
    /// Gives it to the parser.
    pub run: fn(&[u8]) -> Outcome,
    /// What the parser says.
    pub outcome: Outcome,
}

/// Every one.
#[must_use]
pub fn all() -> Vec<Hostile> {
    let tables = [
        images::ALL,
        models::ALL,
        releases::ALL,
        requests::ALL,
        evidence::ALL,
        chain::ALL,
        sockets::ALL,
        wallets::ALL,
    ];
    tables.concat()
}

/// A row whose input is refused.
const fn refused(
    parser: &'static str,
    what: &'static str,
    make: fn() -> Vec<u8>,
    run: fn(&[u8]) -> Outcome,
) -> Hostile {
    Hostile {
        parser,
        what,
        make,
        run,
        outcome: Outcome::Refused,
    }
}

/// A row whose input is as long as any that is taken.
const fn taken(
    parser: &'static str,
    what: &'static str,
    make: fn() -> Vec<u8>,
    run: fn(&[u8]) -> Outcome,
) -> Hostile {
    Hostile {
        outcome: Outcome::Taken,
        ..refused(parser, what, make, run)
    }
}

/// A text repeated up to a length, between two others.
fn filled(front: &str, again: &str, behind: &str, length: usize) -> Vec<u8> {
    let room = length.saturating_sub(front.len() + behind.len());
    let middle = again.repeat(room / again.len());
    [front, &middle, behind].concat().into_bytes()
}

/// Lists in lists, as deep as the length allows.
fn nested(length: usize) -> Vec<u8> {
    vec![b'['; length]
}

/// Overwrites bytes.
fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    file[at..at + bytes.len()].copy_from_slice(bytes);
}
