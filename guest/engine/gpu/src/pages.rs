//! Which page of the cache is whose. A page that its last holder drops waits to be wiped by the
//! next step, and is handed out again from that step on: a step wipes before it does anything else.
//!
//! What is deliberately not here: keys and values, which never leave the device.

use std::cell::RefCell;
use std::rc::Rc;

use engine_cuda::step::WIPES;

/// Pages that nobody holds.
#[derive(Debug)]
pub(crate) struct Pool {
    free: Vec<u32>,
    dropped: Dropped,
}

type Dropped = Rc<RefCell<Vec<u32>>>;

/// A page that several sequences may hold.
#[derive(Debug, Clone)]
pub struct Page(Rc<Held>);

#[derive(Debug)]
struct Held {
    number: u32,
    dropped: Dropped,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.dropped.borrow_mut().push(self.number);
    }
}

impl Page {
    pub(crate) fn number(&self) -> u32 {
        self.0.number
    }
}

impl Pool {
    pub(crate) fn new(pages: u32) -> Self {
        Self {
            free: (0..pages).rev().collect(),
            dropped: Dropped::default(),
        }
    }

    /// The next free page.
    pub(crate) fn take(&mut self) -> Option<Page> {
        let number = self.free.pop()?;
        let dropped = Rc::clone(&self.dropped);
        Some(Page(Rc::new(Held { number, dropped })))
    }

    /// Pages that the next step wipes, and which are free in it already.
    pub(crate) fn wiped_next(&mut self) -> Vec<u32> {
        let most = usize::try_from(WIPES).unwrap_or(usize::MAX);
        let mut dropped = self.dropped.borrow_mut();
        let first = dropped.len().saturating_sub(most);
        let wiped = dropped.split_off(first);
        self.free.extend_from_slice(&wiped);
        wiped
    }

    /// Whether a page waits to be wiped.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.dropped.borrow().is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "tests state claims; a panic is the failure"
    )]

    use super::*;

    #[test]
    fn a_page_is_handed_out_again_only_after_it_was_named_to_be_wiped() {
        let mut pool = Pool::new(2);
        let (first, second) = (pool.take().unwrap(), pool.take().unwrap());
        assert!(pool.take().is_none());
        let number = first.number();
        let other = first.clone();
        drop(first);
        assert!(!pool.is_dirty(), "another still holds it");
        drop(other);
        assert!(pool.is_dirty() && pool.take().is_none());
        assert_eq!(pool.wiped_next(), [number]);
        assert!(!pool.is_dirty());
        assert_eq!(pool.take().unwrap().number(), number);
        assert_ne!(second.number(), number);
    }

    #[test]
    fn a_step_wipes_as_many_as_its_list_has_room_for() {
        let mut pool = Pool::new(100);
        let pages: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
        drop(pages);
        let [first, second, third] = [(); 3].map(|()| pool.wiped_next());
        assert_eq!([first.len(), second.len(), third.len()], [64, 36, 0]);
        let mut all = [first, second].concat();
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
    }
}
