//! What an engine holds of all clients together: numbers alone.

use protocol::codec::{DecodeError, Reader, Writer};

/// Answers under way, and pages of keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holdings {
    /// Answers, or requests for vectors, that have not ended.
    pub answers: u32,
    /// Pages that there may be.
    pub pages: u32,
    /// Of them, those that the answers under way may come to need.
    pub reserved: u32,
    /// Of them, those that are kept of answers that ended.
    pub kept: u32,
    /// Pages in memory, whoever holds them.
    pub held: u32,
}

impl Holdings {
    pub(super) fn write(&self, out: &mut Writer) {
        out.u32(self.answers).u32(self.pages);
        out.u32(self.reserved).u32(self.kept).u32(self.held);
    }

    pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            answers: from.u32()?,
            pages: from.u32()?,
            reserved: from.u32()?,
            kept: from.u32()?,
            held: from.u32()?,
        })
    }
}
