//! Frames on the local sockets: a little-endian `u32` length and that many bytes.
//!
//! The reading of a socket is the programs' part; here is only the limit check, so that no length
//! from a peer is used before it was compared.

use alloc::vec::Vec;

/// Bytes of a frame's header.
pub const HEADER_BYTES: usize = 4;

/// A frame that is longer than the protocol on its socket allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("frame of {found} bytes exceeds {limit}")]
pub struct FrameTooLong {
    /// The announced length.
    pub found: u32,
    /// The protocol's limit.
    pub limit: usize,
}

/// The payload length that a header announces, compared with `limit`.
///
/// # Errors
/// `FrameTooLong` when it exceeds `limit`.
pub fn payload_length(header: [u8; HEADER_BYTES], limit: usize) -> Result<usize, FrameTooLong> {
    let found = u32::from_le_bytes(header);
    match usize::try_from(found) {
        Ok(length) if length <= limit => Ok(length),
        Ok(_) | Err(_) => Err(FrameTooLong { found, limit }),
    }
}

/// A whole frame, header and payload.
#[must_use]
pub fn frame(payload: &[u8]) -> Vec<u8> {
    let mut writer = protocol::codec::Writer::new();
    writer.blob(payload);
    writer.finish()
}
