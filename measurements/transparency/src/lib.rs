//! Transparency of releases: an append-only Merkle log (RFC 6962) of what was published, its signed
//! checkpoints (C2SP tlog-checkpoint over signed-note, Ed25519), and proofs that a client checks
//! offline, natively and in a browser. `docs/spec/release.md`.
//!
//! Pure: keys, records and files come in as arguments. Not here: reading a release directory
//! (`measurements::publication`), and witnesses, whose cosignatures are carried but not asked for.
#![forbid(unsafe_code)]

pub mod checkpoint;
pub mod log;
pub mod merkle;
pub mod names;
pub mod note;
pub mod proof;
pub mod record;
pub mod release;
