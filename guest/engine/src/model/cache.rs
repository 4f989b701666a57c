//! Keys and values of one sequence, in pages that are wiped when they are freed.
//!
//! Whole pages may be shared: kept when their sequence ends, and read by later ones that begin with
//! the same tokens. A shared page is never written.
//!
//! A page holds 32 positions of all layers: per layer and head the keys, then the values, each as
//! [`HeadRun`] says, so that one head of a page is one run of memory. Where weights are quantised
//! a cache holds f16, otherwise floats.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::Weights;
use crate::kernels::{BESIDE, HALVED, HeadRun, Kernels, RUN, SPAN};

/// Positions of a page.
pub const PAGE: usize = RUN;

/// Memory of all caches together, in bytes.
pub(crate) const CACHE_BYTES: usize = 512 << 20;

/// Pages that this process holds, whoever does: what is lost to every other count is in this one.
static HELD: AtomicUsize = AtomicUsize::new(0);

/// How many pages there are in memory.
pub(crate) fn pages_held() -> usize {
    HELD.load(Ordering::Relaxed)
}

/// Pages of a span.
const SPAN_PAGES: usize = SPAN / PAGE;

/// Pages that so many positions take.
pub(crate) const fn pages_for(positions: usize) -> usize {
    positions.div_ceil(PAGE)
}

/// How keys and values are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Precision {
    /// f16.
    Half,
    /// Floats.
    Single,
}

/// 32 positions of all layers.
#[derive(Zeroize, ZeroizeOnDrop)]
enum Page {
    Half(Box<[u16]>),
    Single(Box<[f32]>),
}

/// A page that several may read; wiped and freed with its last holder.
#[derive(Clone)]
pub(crate) struct SharedPage(Arc<Counted>);

/// A page that is counted for as long as it lives.
struct Counted(Page);

impl Counted {
    fn new(page: Page) -> Self {
        HELD.fetch_add(1, Ordering::Relaxed);
        Self(page)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        HELD.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The positions of one sequence.
pub(crate) struct KvCache {
    pages: Vec<SharedPage>,
    /// First position with a number that could not be held: neither NaN nor what is beyond f16
    /// comes back from a page, so this says instead that whoever sees it has no result.
    spoiled: Option<usize>,
}

/// Where a head of a layer lies in a page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Geometry {
    layers: usize,
    kv_heads: usize,
    head: usize,
    precision: Precision,
}

/// Keys and values of a span, run by run.
pub(crate) type SpanRuns<'a> = ([HeadRun<'a>; SPAN_PAGES], [HeadRun<'a>; SPAN_PAGES]);

impl Geometry {
    pub(crate) fn of(weights: &Weights) -> Self {
        Self {
            layers: weights.shape.layers,
            kv_heads: weights.shape.kv_heads,
            head: weights.shape.head,
            precision: weights.cache_precision(),
        }
    }

    /// Elements of a position's values of one head.
    const fn padded(&self) -> usize {
        self.head.next_multiple_of(BESIDE)
    }

    /// Numbers of one head's 32 positions: of keys, and of keys and values.
    const fn run(&self) -> (usize, usize) {
        let keys = self.head.saturating_mul(PAGE);
        (
            keys,
            keys.saturating_add(self.padded().saturating_mul(PAGE)),
        )
    }

    /// Numbers of a page.
    const fn page(&self) -> usize {
        let layer = self.run().1.saturating_mul(self.kv_heads);
        layer.saturating_mul(self.layers)
    }

    /// Bytes of a page.
    pub(crate) const fn page_bytes(&self) -> usize {
        self.page().saturating_mul(match self.precision {
            Precision::Half => size_of::<u16>(),
            Precision::Single => size_of::<f32>(),
        })
    }

    /// The magnitude that can no longer be held: rounded to f16 it is infinite.
    const fn limit(&self) -> f32 {
        match self.precision {
            Precision::Half => 65_520.0,
            Precision::Single => f32::INFINITY,
        }
    }

    /// First number of a head of a layer.
    const fn start(&self, layer: usize, head: usize) -> usize {
        let heads = layer.saturating_mul(self.kv_heads).saturating_add(head);
        heads.saturating_mul(self.run().1)
    }
}

impl Page {
    fn empty(geometry: &Geometry) -> Self {
        match geometry.precision {
            Precision::Half => Self::Half(vec![0; geometry.page()].into_boxed_slice()),
            Precision::Single => Self::Single(vec![0.0; geometry.page()].into_boxed_slice()),
        }
    }

    fn run(&self, range: std::ops::Range<usize>) -> Option<HeadRun<'_>> {
        match self {
            Self::Half(all) => all.get(range).map(HeadRun::Half),
            Self::Single(all) => all.get(range).map(HeadRun::Single),
        }
    }
}

/// Writes some elements of the keys and values of one head at one position of a run: those from
/// `first` on, of `head`.
#[allow(
    clippy::arithmetic_side_effects,
    reason = "offsets within a run, whose length the geometry's limits keep small"
)]
fn write_elements<T: Copy>(
    run: &mut [T],
    (within, head): (usize, usize),
    first: usize,
    key: &[T],
    value: &[T],
) {
    let Some((keys, values)) = run.split_at_mut_checked(head * PAGE) else {
        return;
    };
    let start = within / BESIDE * BESIDE * head + within % BESIDE + first * BESIDE;
    let targets = keys.iter_mut().skip(start).step_by(BESIDE);
    for (target, key) in targets.zip(key) {
        *target = *key;
    }
    let start = within * head.next_multiple_of(BESIDE) + first;
    let targets = values.iter_mut().skip(start);
    for (target, value) in targets.zip(value) {
        *target = *value;
    }
}

#[cfg(test)]
impl SharedPage {
    /// A page that holds this number alone, for tests of what is kept.
    pub(crate) fn marked(mark: u16) -> Self {
        Self(Arc::new(Counted::new(Page::Half(Box::new([mark])))))
    }

    /// Whether it is that page.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// How many hold it.
    pub(crate) fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }
}

impl KvCache {
    /// A sequence that begins with these pages.
    pub(crate) const fn after(pages: Vec<SharedPage>) -> Self {
        Self {
            pages,
            spoiled: None,
        }
    }

    /// The first pages, at most so many, up to the first position that could not be held.
    pub(crate) fn into_first(mut self, most: usize) -> Vec<SharedPage> {
        let sound = self.spoiled.map_or(most, |first| most.min(first / PAGE));
        self.pages.truncate(sound);
        self.pages
    }

    /// Makes room for position `position`.
    pub(crate) fn reach(&mut self, position: usize, geometry: &Geometry) {
        while self.pages.len() <= position / PAGE {
            let page = Counted::new(Page::empty(geometry));
            self.pages.push(SharedPage(Arc::new(page)));
        }
    }

    /// Writes one position of one layer; `keys` and `values` hold all heads.
    pub(crate) fn write(
        &mut self,
        kernels: Kernels,
        geometry: &Geometry,
        (layer, position): (usize, usize),
        keys: &[f32],
        values: &[f32],
    ) {
        let page = self.pages.get_mut(position / PAGE);
        // Others read it: rather no answer than one that changes theirs.
        let Some(page) = page.and_then(|page| Arc::get_mut(&mut page.0)) else {
            self.spoil(position);
            return;
        };
        // All are looked at, without an early end, so that the loop becomes vectors.
        let held = |sound: bool, value: &f32| sound & (value.abs() < geometry.limit());
        let sound = keys.iter().chain(values).fold(true, held);
        let place = (position % PAGE, geometry.head);
        let heads = keys.chunks_exact(geometry.head);
        let heads = heads.zip(values.chunks_exact(geometry.head));
        for (head, (key, value)) in heads.enumerate() {
            let start = geometry.start(layer, head);
            let range = start..start.saturating_add(geometry.run().1);
            match &mut page.0 {
                Page::Half(all) => {
                    let run = all.get_mut(range).unwrap_or_default();
                    let blocks = key.chunks(HALVED).zip(value.chunks(HALVED));
                    for (block, (key, value)) in blocks.enumerate() {
                        let [mut keys, mut values] = [[0; HALVED]; 2];
                        let keys = kernels.halve(key, &mut keys);
                        let values = kernels.halve(value, &mut values);
                        write_elements(run, place, block.saturating_mul(HALVED), keys, values);
                    }
                }
                Page::Single(all) => {
                    let run = all.get_mut(range).unwrap_or_default();
                    write_elements(run, place, 0, key, value);
                }
            }
        }
        if !sound {
            self.spoil(position);
        }
    }

    fn spoil(&mut self, position: usize) {
        let first = self.spoiled.unwrap_or(position);
        self.spoiled = Some(first.min(position));
    }

    /// Whether a position sees one that could not be held.
    pub(crate) fn is_spoiled_at(&self, position: usize) -> bool {
        self.spoiled.is_some_and(|first| first <= position)
    }

    /// Keys and values of one head in the span of that number; runs beyond the last page are empty.
    pub(crate) fn span(
        &self,
        geometry: &Geometry,
        (layer, head, span): (usize, usize, usize),
    ) -> SpanRuns<'_> {
        let start = geometry.start(layer, head);
        let (keys, both) = geometry.run();
        let middle = start.saturating_add(keys);
        let end = start.saturating_add(both);
        let first = span.saturating_mul(SPAN_PAGES);
        let pages = || self.pages.iter().skip(first);
        let runs = |range: std::ops::Range<usize>| {
            let mut pages = pages();
            std::array::from_fn(|_| {
                let run = pages.next().and_then(|page| page.0.0.run(range.clone()));
                run.unwrap_or(HeadRun::Half(&[]))
            })
        };
        (runs(start..middle), runs(middle..end))
    }
}
