//! Bounded little-endian reads out of files whose authors are not trusted.

/// A read outside the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("file ends inside the field at byte {at}")]
pub struct OutOfFile {
    /// Offset of the field.
    pub at: usize,
}

/// `length` bytes at `at`.
///
/// # Errors
/// `OutOfFile`.
pub fn slice(bytes: &[u8], at: usize, length: usize) -> Result<&[u8], OutOfFile> {
    let end = at.checked_add(length).ok_or(OutOfFile { at })?;
    bytes.get(at..end).ok_or(OutOfFile { at })
}

/// `N` bytes at `at`.
///
/// # Errors
/// `OutOfFile`.
pub fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], OutOfFile> {
    slice(bytes, at, N)?
        .first_chunk::<N>()
        .copied()
        .ok_or(OutOfFile { at })
}

/// A `u16` at `at`.
///
/// # Errors
/// `OutOfFile`.
pub fn u16_at(bytes: &[u8], at: usize) -> Result<u16, OutOfFile> {
    array(bytes, at).map(u16::from_le_bytes)
}

/// A `u32` at `at`.
///
/// # Errors
/// `OutOfFile`.
pub fn u32_at(bytes: &[u8], at: usize) -> Result<u32, OutOfFile> {
    array(bytes, at).map(u32::from_le_bytes)
}

/// A `u64` at `at`.
///
/// # Errors
/// `OutOfFile`.
pub fn u64_at(bytes: &[u8], at: usize) -> Result<u64, OutOfFile> {
    array(bytes, at).map(u64::from_le_bytes)
}

/// A `u32` at `at`, as a position or length within a file.
///
/// # Errors
/// `OutOfFile`.
pub fn offset_at(bytes: &[u8], at: usize) -> Result<usize, OutOfFile> {
    usize::try_from(u32_at(bytes, at)?).map_err(|_| OutOfFile { at })
}
