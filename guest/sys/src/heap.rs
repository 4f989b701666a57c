//! The heap of a program that holds prompts, answers or keys: what is freed is overwritten first.
//!
//! Types that know what they hold wipe it themselves (`zeroize`). This is for all that does not:
//! buffers of TLS, HTTP and JSON libraries, formatted strings, vectors that grew.

use std::alloc::{GlobalAlloc, Layout, System};
use std::arch::asm;
use std::sync::atomic::{AtomicBool, Ordering};

/// Size of a large page, and the least size of a block that asks for them.
const LARGE_PAGE: usize = 2 << 20;

/// The least size of a block that asks for them for the memory around it too, in a program that
/// [gathers](gather_in_large_pages) its blocks.
const GATHERED: usize = 64 << 10;

/// What the C library takes from the kernel beyond what it needs, each time that its heap grows.
/// Not touched before it is needed; a heap that grew by less would end within a large page each
/// time, and begin there with small ones.
const GROWTH: libc::c_int = 32 << 20;

/// Whether this program gathers its blocks.
static GATHERS: AtomicBool = AtomicBool::new(false);

/// The system's heap, which overwrites each block with zeros before it is free again. A program
/// makes it its own with `#[global_allocator]`.
///
/// A block that grows or shrinks is a new one, and the old one is overwritten: the trait's own
/// `realloc`.
///
/// A block of two megabytes or more begins on a large page, and asks the kernel for such pages as
/// far as it fills them: a model's weights are read whole for each token, and with pages of 4096
/// bytes much of that time goes to finding the next one. Smaller blocks gain as much where a
/// program [gathers](gather_in_large_pages) them.
#[derive(Debug)]
pub struct WipingHeap;

/// From now on, blocks of less than two megabytes lie side by side in one run of memory, for which
/// large pages are asked: matrices and cache pages of a small model are such blocks. To be called
/// once, when the program starts, and only by one whose blocks are mostly large: a large page is
/// resident as a whole.
///
/// Where the C library or the kernel refuses, blocks lie as before. What is freed is overwritten
/// as before.
pub fn gather_in_large_pages() {
    // Two megabytes fit.
    let large = libc::c_int::try_from(LARGE_PAGE).unwrap_or(libc::c_int::MAX);
    let wanted = [(libc::M_MMAP_THRESHOLD, large), (libc::M_TOP_PAD, GROWTH)];
    let taken = wanted.iter().all(|(name, value)| {
        // SAFETY: two numbers, by which the C library decides where blocks lie.
        unsafe { libc::mallopt(*name, *value) == 1 }
    });
    GATHERS.store(taken, Ordering::Relaxed);
}

// SAFETY: each request is handed to `System` as it came, or with a greater alignment that follows
// from it alone, so its promises are `System`'s; a block is written to only before its owner has it
// and when its owner gives it up.
unsafe impl GlobalAlloc for WipingHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the promises of `GlobalAlloc::alloc`, which are the same.
        let block = unsafe { System.alloc(placed(layout)) };
        if asks(layout) && !block.is_null() {
            prefer_large_pages(block, layout.size());
        }
        block
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !asks(layout) {
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

/// Whether large pages are asked for when such a block is given.
fn asks(layout: Layout) -> bool {
    let size = layout.size();
    size >= LARGE_PAGE || (size >= GATHERED && GATHERS.load(Ordering::Relaxed))
}

/// Asks for large pages where the block fills them; for a gathered block, where it does so together
/// with its neighbours, and as far behind it as the next may reach: the C library writes behind a
/// block before it is known here, and a large page comes at the first touch or not at all. Where
/// the kernel has none, nothing changes.
fn prefer_large_pages(block: *mut u8, size: usize) {
    let within = |bytes: usize| bytes & LARGE_PAGE.wrapping_sub(1);
    let (start, length) = if size >= LARGE_PAGE {
        (block, size.wrapping_sub(within(size)))
    } else {
        let before = within(block.addr());
        let length = before.wrapping_add(size).next_multiple_of(LARGE_PAGE);
        (block.wrapping_sub(before), length.wrapping_add(LARGE_PAGE))
    };
    // SAFETY: MADV_HUGEPAGE changes no byte, whoever's they are, and of a range it passes over
    // what is not mapped.
    let _refused = unsafe { libc::madvise(start.cast(), length, libc::MADV_HUGEPAGE) };
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

    /// Whether large pages are asked for in the mapping that holds an address.
    fn asked(address: usize) -> Option<bool> {
        let all = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut lines = all.lines();
        lines.find(|line| {
            let bounds = line
                .split_whitespace()
                .next()
                .and_then(|word| word.split_once('-'));
            let number = |text| usize::from_str_radix(text, 16).ok();
            let range = bounds.and_then(|(from, to)| Some(number(from)?..number(to)?));
            range.is_some_and(|range| range.contains(&address))
        })?;
        let flags = lines.find(|line| line.starts_with("VmFlags:"))?;
        Some(flags.split_whitespace().any(|flag| flag == "hg"))
    }

    #[test]
    fn gathered_blocks_lie_where_large_pages_are_asked_for_and_come_zeroed_when_asked() {
        const SIZE: usize = 700 << 10;
        if !std::fs::exists("/sys/kernel/mm/transparent_hugepage").unwrap() {
            eprintln!("not run: this kernel has no large pages to ask for");
            return;
        }
        let layout = Layout::array::<u8>(SIZE).unwrap();
        gather_in_large_pages();
        for _ in 0..2 {
            // SAFETY: the layout is not empty.
            let blocks = [(); 12].map(|()| unsafe { WipingHeap.alloc_zeroed(layout) });
            for block in blocks {
                assert!(!block.is_null());
                assert_eq!(asked(block.addr()), Some(true));
                // SAFETY: the block is that long.
                let bytes = unsafe { std::slice::from_raw_parts_mut(block, SIZE) };
                assert!(bytes.iter().all(|byte| *byte == 0));
                bytes.fill(9);
            }
            for block in blocks {
                // SAFETY: a block of this heap, with its layout.
                unsafe { WipingHeap.dealloc(block, layout) };
            }
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
