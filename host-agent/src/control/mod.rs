//! The control port: what the guest and its host tell each other besides ciphertext.
//!
//! The guest is hostile: each frame is bounded before it is read, decoded once, counted against a
//! rate, and answered from the host's own knowledge. Deliberately not here: the bytes of a message
//! (`messages::host_control`) and the journal's rules.

mod bucket;
pub mod channels;
pub mod decision;
pub mod endorsements;
pub mod service;
pub mod settlement;
