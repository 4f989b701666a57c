//! The work of single rows, each thread its lane: what stands between products and attention.

use std::sync::RwLockReadGuard;

use super::forward::{Forward, reading, writing};
use super::rows::{Item, Lane, Row, Share, State, lane_rows};
use super::team::Part;
use crate::kernels::{SPAN, TILE, add, angle, merge_spans, span_floats};

/// What is done to each row.
#[derive(Debug, Clone, Copy)]
pub(super) enum RowTask {
    /// Reads the embedding.
    Embed,
    /// From the stream to the input of a layer's attention.
    BeforeAttention(usize),
    /// From the products to queries, keys and values.
    Turn(usize),
    /// From attention to the input of the output projection.
    Mix,
    /// Adds to the stream, and from there to the input of the inner part.
    BeforeInner(usize),
    /// From the inner products to the input of the last projection.
    WithinInner,
    /// Adds to the stream.
    AfterInner,
}

#[allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "tensor loops: offsets are products of widths that the shape's limits keep small"
)]
impl Forward<'_> {
    pub(super) fn perform_rows(&self, state: &State, task: RowTask, part: Part) {
        let rows = lane_rows(part, state.rows.len());
        let Some(lane) = self.lanes.get(part.index) else {
            return;
        };
        let mut lane = writing(lane);
        let lane = &mut *lane;
        let shares: Vec<_> = self.shares.iter().map(reading).collect();
        let shares = shares.as_slice();
        let layer = |number: usize| self.weights.layers.get(number);
        match task {
            RowTask::Embed => self.embed(&state.rows[rows], lane),
            RowTask::BeforeAttention(at) => {
                if let Some(layer) = layer(at) {
                    self.norm_to_input(lane, &layer.attention_norm);
                }
            }
            RowTask::Turn(at) => {
                if let Some(layer) = layer(at) {
                    let tiles = [layer.query.tiles(), layer.key.tiles(), layer.value.tiles()];
                    self.turn(tiles, rows, shares, lane);
                }
            }
            RowTask::Mix => self.mix(state, rows, shares, lane),
            RowTask::BeforeInner(at) => {
                self.add_to_stream(rows, shares, lane);
                if let Some(layer) = layer(at) {
                    self.norm_to_input(lane, &layer.inner_norm);
                }
            }
            RowTask::WithinInner => {
                let inner = self.weights.shape.inner;
                lane.input.clear();
                for row in rows {
                    gather(shares, row, inner.div_ceil(TILE), &mut lane.products);
                    let products = &lane.products[..inner];
                    self.kernels.quantize(products, &mut lane.input);
                }
            }
            RowTask::AfterInner => self.add_to_stream(rows, shares, lane),
        }
    }

    fn embed(&self, rows: &[Row], lane: &mut Lane) {
        lane.stream.clear();
        lane.angles.clear();
        for row in rows {
            let token = usize::try_from(row.token).unwrap_or(usize::MAX);
            self.weights.embedding.read_row(token, &mut lane.stream);
            let position = f64::from(u32::try_from(row.position).unwrap_or(u32::MAX));
            let angles = self
                .frequencies
                .iter()
                .map(|frequency| angle(position * frequency));
            lane.angles.extend(angles);
        }
    }

    fn norm_to_input(&self, lane: &mut Lane, norm: &[f32]) {
        let shape = &self.weights.shape;
        lane.input.clear();
        for row in lane.stream.chunks_exact(shape.width) {
            lane.normed.clear();
            self.kernels
                .normalize(row, norm, shape.epsilon, &mut lane.normed);
            self.kernels.quantize(&lane.normed, &mut lane.input);
        }
    }

    fn turn(
        &self,
        tiles: [usize; 3],
        rows: std::ops::Range<usize>,
        shares: &[RwLockReadGuard<'_, Share>],
        lane: &mut Lane,
    ) {
        let shape = &self.weights.shape;
        let key_start = tiles[0] * TILE;
        let value_start = key_start + tiles[1] * TILE;
        lane.query.clear();
        lane.key.clear();
        lane.value.clear();
        let pairs = shape.head / 2;
        for (number, row) in rows.enumerate() {
            gather(shares, row, tiles.iter().sum(), &mut lane.products);
            let products = lane.products.as_mut_slice();
            let angles = &lane.angles[number * pairs..][..pairs];
            let query = &mut products[..shape.query_width()];
            rotate(query, angles, shape.head);
            lane.query.extend_from_slice(query);
            let key = &mut products[key_start..][..shape.kv_width()];
            rotate(key, angles, shape.head);
            lane.key.extend_from_slice(key);
            let value = &products[value_start..][..shape.kv_width()];
            lane.value.extend_from_slice(value);
        }
    }

    fn mix(
        &self,
        state: &State,
        rows: std::ops::Range<usize>,
        shares: &[RwLockReadGuard<'_, Share>],
        lane: &mut Lane,
    ) {
        let head = self.cut.head;
        lane.input.clear();
        for row in rows {
            let Some(block) = state.block_of(row) else {
                continue;
            };
            let within = row - block.row;
            let spans = (block.position + within) / SPAN + 1;
            lane.products.clear();
            for number in 0..self.cut.kv_heads * self.cut.group {
                let (kv_head, query) = (number / self.cut.group, number % self.cut.group);
                let query = within * self.cut.group + query;
                let spans = (0..spans).map(|span| {
                    let left = self.left(state, shares, block.item(kv_head, span));
                    &left[query * span_floats(head)..][..span_floats(head)]
                });
                merge_spans(spans, head, &mut lane.products);
            }
            self.kernels.quantize(&lane.products, &mut lane.input);
        }
    }

    /// What an item left.
    fn left<'s>(
        &self,
        state: &State,
        shares: &'s [RwLockReadGuard<'_, Share>],
        number: usize,
    ) -> &'s [f32] {
        let start = |item: Option<&Item>| item.map_or(0, |item| item.start);
        for (index, share) in shares.iter().enumerate() {
            let of = shares.len();
            let items = Part { index, of }.share(state.items.len());
            if items.contains(&number) {
                let first = start(state.items.get(items.start));
                return &share.out[start(state.items.get(number)) - first..];
            }
        }
        &[]
    }

    /// Adds the products, as wide as the stream, to the stream.
    fn add_to_stream(
        &self,
        rows: std::ops::Range<usize>,
        shares: &[RwLockReadGuard<'_, Share>],
        lane: &mut Lane,
    ) {
        let width = self.weights.shape.width;
        for (row, stream) in rows.zip(lane.stream.chunks_exact_mut(width)) {
            gather(shares, row, width.div_ceil(TILE), &mut lane.products);
            add(stream, &lane.products);
        }
    }
}

/// Puts a row of a product of so many tiles together from the shares.
#[allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "offsets within what `multiply` wrote"
)]
pub(super) fn gather(
    shares: &[RwLockReadGuard<'_, Share>],
    row: usize,
    tiles: usize,
    out: &mut Vec<f32>,
) {
    let of = shares.len();
    out.clear();
    for (index, share) in shares.iter().enumerate() {
        let width = Part { index, of }.share(tiles).len() * TILE;
        out.extend_from_slice(&share.out[row * width..][..width]);
    }
}

/// Turns neighbouring pairs of each head by the row's angles.
#[allow(clippy::arithmetic_side_effects, reason = "float arithmetic only")]
fn rotate(heads: &mut [f32], angles: &[(f32, f32)], head: usize) {
    for head in heads.chunks_exact_mut(head) {
        let (pairs, _) = head.as_chunks_mut::<2>();
        for ([even, odd], (cosine, sine)) in pairs.iter_mut().zip(angles) {
            (*even, *odd) = (*even * cosine - *odd * sine, *even * sine + *odd * cosine);
        }
    }
}
