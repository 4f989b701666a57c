//! The heap of a program that holds prompts, answers or keys: what is freed is overwritten first.
//!
//! Types that know what they hold wipe it themselves (`zeroize`). This is for all that does not:
//! buffers of TLS, HTTP and JSON libraries, formatted strings, vectors that grew.

use std::alloc::{GlobalAlloc, Layout, System};
use std::arch::asm;

/// The system's heap, which overwrites each block with zeros before it is free again. A program
/// makes it its own with `#[global_allocator]`.
///
/// A block that grows or shrinks is a new one, and the old one is overwritten: the trait's own
/// `realloc`.
#[derive(Debug)]
pub struct WipingHeap;

// SAFETY: each request is handed to `System` as it came, so its promises are `System`'s; a block is
// written to only when its owner gives it up.
unsafe impl GlobalAlloc for WipingHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the promises of `GlobalAlloc::alloc`, which are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the promises of `GlobalAlloc::alloc_zeroed`, which are the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block is the caller's until this call ends, and as long as its layout says.
        unsafe { overwrite(block, layout.size()) };
        // SAFETY: the caller keeps the promises of `GlobalAlloc::dealloc`, which are the same.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Writes zeros that the compiler cannot leave out, though nobody here reads them.
///
/// # Safety
/// `length` bytes from `block` on can be written.
unsafe fn overwrite(block: *mut u8, length: usize) {
    // SAFETY: the caller's promise.
    unsafe { block.write_bytes(0, length) };
    // SAFETY: no instruction at all. To the compiler it may read any memory that `block` reaches,
    // so the zeros must be there.
    unsafe { asm!("/* {} */", in(reg) block, options(nostack, preserves_flags)) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_written_and_nothing_beside_them() {
        let mut bytes = [7_u8; 64];
        // SAFETY: 32 of 64 bytes, 16 from the start.
        unsafe { overwrite(bytes.as_mut_ptr().wrapping_add(16), 32) };
        assert_eq!(bytes[..16], [7; 16]);
        assert_eq!(bytes[16..48], [0; 32]);
        assert_eq!(bytes[48..], [7; 16]);
    }

    #[test]
    fn a_block_that_grows_keeps_what_it_holds() {
        let layout = Layout::array::<u8>(100).unwrap();
        // SAFETY: the layout is not empty.
        let block = unsafe { WipingHeap.alloc(layout) };
        assert!(!block.is_null());
        // SAFETY: the block is that long.
        unsafe { block.write_bytes(5, 100) };
        // SAFETY: the block and its layout are those of the allocation.
        let grown = unsafe { WipingHeap.realloc(block, layout, 5000) };
        assert!(!grown.is_null());
        // SAFETY: the first hundred bytes of the grown block are those of the old one.
        let kept = unsafe { std::slice::from_raw_parts(grown, 100) };
        assert_eq!(kept, [5; 100]);
        // SAFETY: a block of this heap, with the length that it grew to.
        unsafe { WipingHeap.dealloc(grown, Layout::array::<u8>(5000).unwrap()) };
    }
}
