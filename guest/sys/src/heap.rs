//! The heap of a program that holds prompts, answers or keys: what is freed is overwritten first.
//!
//! Types that know what they hold wipe it themselves (`zeroize`). This is for all that does not:
//! buffers of TLS, HTTP and JSON libraries, formatted strings, vectors that grew.

use std::alloc::{GlobalAlloc, Layout, System};
use std::arch::asm;

/// Size of a large page, and the least size of a block that asks for them.
const LARGE_PAGE: usize = 2 << 20;

/// The system's heap, which overwrites each block with zeros before it is free again. A program
/// makes it its own with `#[global_allocator]`.
///
/// A block that grows or shrinks is a new one, and the old one is overwritten: the trait's own
/// `realloc`.
///
/// A block of two megabytes or more begins on a large page, and asks the kernel for such pages as
/// far as it fills them: a model's weights are read whole for each token, and with pages of 4096
/// bytes much of that time goes to finding the next one.
#[derive(Debug)]
pub struct WipingHeap;

// SAFETY: each request is handed to `System` as it came, or with a greater alignment that follows
// from it alone, so its promises are `System`'s; a block is written to only before its owner has it
// and when its owner gives it up.
unsafe impl GlobalAlloc for WipingHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the promises of `GlobalAlloc::alloc`, which are the same.
        let block = unsafe { System.alloc(placed(layout)) };
        if layout.size() >= LARGE_PAGE && !block.is_null() {
            prefer_large_pages(block, layout.size());
        }
        block
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.size() < LARGE_PAGE {
            // SAFETY: the caller keeps the promises of `GlobalAlloc::alloc_zeroed`, which are the
            // same.
            return unsafe { System.alloc_zeroed(layout) };
        }
        // SAFETY: the caller's promise.
        let block = unsafe { self.alloc(layout) };
        if !block.is_null() {
            // SAFETY: the block is that long, and nobody has it yet.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block is the caller's until this call ends, and as long as its layout says.
        unsafe { overwrite(block, layout.size()) };
        // SAFETY: the caller keeps the promises of `GlobalAlloc::dealloc`, which are the same.
        unsafe { System.dealloc(block, placed(layout)) }
    }
}

/// How a block is asked for of the system: a large one at a multiple of a large page.
fn placed(layout: Layout) -> Layout {
    if layout.size() < LARGE_PAGE {
        return layout;
    }
    layout.align_to(LARGE_PAGE).unwrap_or(layout)
}

/// Asks for large pages where the block fills them. Where the kernel has none, nothing changes.
fn prefer_large_pages(block: *mut u8, size: usize) {
    let whole = size & !LARGE_PAGE.wrapping_sub(1);
    // SAFETY: the range is that of whole pages of a live block; MADV_HUGEPAGE changes no byte of
    // it.
    let _refused = unsafe { libc::madvise(block.cast(), whole, libc::MADV_HUGEPAGE) };
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
    fn a_large_block_begins_on_a_large_page_and_comes_zeroed_when_asked() {
        let layout = Layout::array::<u64>(LARGE_PAGE / 8 + 1).unwrap();
        for _ in 0..3 {
            // SAFETY: the layout is not empty.
            let block = unsafe { WipingHeap.alloc_zeroed(layout) };
            assert!(!block.is_null());
            assert_eq!(block.addr() % LARGE_PAGE, 0);
            // SAFETY: the block is that long.
            let bytes = unsafe { std::slice::from_raw_parts_mut(block, layout.size()) };
            assert!(bytes.iter().all(|byte| *byte == 0));
            bytes.fill(9);
            // SAFETY: a block of this heap, with its layout.
            unsafe { WipingHeap.dealloc(block, layout) };
        }
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
