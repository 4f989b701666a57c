//! Whose answer it is: what keeps the prefixes of clients apart.

use core::fmt;

use protocol::codec::{DecodeError, Reader, Writer};

/// Names a client to engine: drawn by serve for each connection, told to nobody else, and never
/// used again. Prints nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ClientKey(pub [u8; ClientKey::LENGTH]);

impl ClientKey {
    /// Bytes of a key.
    pub const LENGTH: usize = 16;

    pub(super) fn write(&self, out: &mut Writer) {
        out.raw(&self.0);
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.array().map(Self)
    }
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientKey")
    }
}
