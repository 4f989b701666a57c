//! Keeping pages in memory and out of dumps.

use crate::{CallFailed, Result};

/// Page size of every machine that this project runs on.
const PAGE: usize = 4096;

/// Keeps the pages of `bytes` from being written anywhere: locked in memory, left out of dumps.
/// Neighbours on the same pages share that.
///
/// # Errors
/// That of the failing call.
pub fn keep_private(bytes: &[u8]) -> Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    // SAFETY: the range is that of a live slice; mlock changes no byte of it.
    let locked = unsafe { libc::mlock(bytes.as_ptr().cast(), bytes.len()) };
    nix::errno::Errno::result(locked).map_err(CallFailed::of("mlock"))?;
    let into_page = bytes.as_ptr().addr() % PAGE;
    let start = bytes.as_ptr().wrapping_sub(into_page).cast_mut();
    let length = bytes.len().saturating_add(into_page);
    // SAFETY: MADV_DONTDUMP marks whole mapped pages and changes no byte of them.
    let marked = unsafe { libc::madvise(start.cast(), length, libc::MADV_DONTDUMP) };
    nix::errno::Errno::result(marked)
        .map(drop)
        .map_err(CallFailed::of("madvise"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_pages_wherever_the_slice_starts() {
        let bytes = vec![7_u8; 3 * PAGE];
        for start in [0, 1, PAGE - 1, PAGE] {
            assert_eq!(keep_private(&bytes[start..start + 10]), Ok(()));
        }
        assert!(bytes.iter().all(|byte| *byte == 7));
    }
}
