//! Keys and values of one sequence, in pages that are wiped when they are freed.
//!
//! A page holds 32 positions of all layers: per layer the keys, then the values, each as
//! `[head][position][element]`, so that one head of a page is one run of memory.

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::Shape;

/// Positions of a page.
pub(crate) const PAGE: usize = 32;

/// Pages that so many positions take.
pub(crate) const fn pages_for(positions: usize) -> usize {
    positions.div_ceil(PAGE)
}

/// 32 positions of all layers.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Page(Box<[f32]>);

/// The positions of one sequence.
#[derive(Default)]
pub(crate) struct KvCache {
    pages: Vec<Page>,
}

/// Where a head of a layer lies in a page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Geometry {
    layers: usize,
    kv_heads: usize,
    head: usize,
}

/// Which half of a layer's page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Half {
    /// Keys.
    Keys,
    /// Values.
    Values,
}

impl Geometry {
    pub(crate) const fn of(shape: &Shape) -> Self {
        Self {
            layers: shape.layers,
            kv_heads: shape.kv_heads,
            head: shape.head,
        }
    }

    /// Floats of one head's 32 positions.
    const fn run(&self) -> usize {
        self.head.saturating_mul(PAGE)
    }

    /// Floats of a page.
    pub(crate) const fn page(&self) -> usize {
        let layer = self.run().saturating_mul(self.kv_heads).saturating_mul(2);
        layer.saturating_mul(self.layers)
    }

    const fn start(&self, layer: usize, half: Half, head: usize) -> usize {
        let halves = match half {
            Half::Keys => layer.saturating_mul(2),
            Half::Values => layer.saturating_mul(2).saturating_add(1),
        };
        let heads = halves.saturating_mul(self.kv_heads).saturating_add(head);
        heads.saturating_mul(self.run())
    }
}

impl KvCache {
    /// Makes room for position `position`.
    pub(crate) fn reach(&mut self, position: usize, geometry: &Geometry) {
        while self.pages.len() <= position / PAGE {
            self.pages
                .push(Page(vec![0.0; geometry.page()].into_boxed_slice()));
        }
    }

    /// Writes one position of one layer's half; `values` holds all heads.
    pub(crate) fn write(
        &mut self,
        geometry: &Geometry,
        (layer, half, position): (usize, Half, usize),
        values: &[f32],
    ) {
        let Some(Page(page)) = self.pages.get_mut(position / PAGE) else {
            return;
        };
        let within = (position % PAGE).saturating_mul(geometry.head);
        for (head, values) in values.chunks_exact(geometry.head).enumerate() {
            let start = geometry.start(layer, half, head).saturating_add(within);
            let range = start..start.saturating_add(geometry.head);
            if let Some(target) = page.get_mut(range) {
                target.copy_from_slice(values);
            }
        }
    }

    /// The positions of one head in order, one slice of `head` floats each; the last page is
    /// given whole.
    pub(crate) fn positions(
        &self,
        geometry: &Geometry,
        (layer, half, head): (usize, Half, usize),
    ) -> impl Iterator<Item = &[f32]> {
        let start = geometry.start(layer, half, head);
        let range = start..start.saturating_add(geometry.run());
        let width = geometry.head;
        self.pages.iter().flat_map(move |Page(page)| {
            page.get(range.clone())
                .unwrap_or_default()
                .chunks_exact(width)
        })
    }
}
