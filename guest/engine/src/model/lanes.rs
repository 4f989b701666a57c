//! The work of single rows, each thread its lane: what stands between products and attention.

use std::sync::RwLockReadGuard;

use super::encoder::{After, add_and_norm};
use super::experts::ExpertTask;
use super::forward::{Forward, reading, writing};
use super::rows::{Item, Lane, Row, Share, State, lane_rows};
use super::team::Part;
use super::weights::Layer;
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
    /// From a layer's inner products to the input of the last projection.
    WithinInner(usize),
    /// Adds to the stream.
    AfterInner(usize),
    /// What is done where a layer has experts.
    Experts(ExpertTask),
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
                    self.to_input(lane, layer, &layer.attention_norm);
                }
            }
            RowTask::Turn(at) => {
                if let Some(layer) = layer(at) {
                    let windowed = self.weights.shape.window_of(at).is_some();
                    self.turn(layer, windowed, rows, shares, lane);
                }
            }
            RowTask::Mix => self.mix(state, rows, shares, lane),
            RowTask::BeforeInner(at) => {
                if let Some(layer) = layer(at) {
                    self.add_to_stream(&layer.after_attention(), rows, shares, lane);
                    self.to_input(lane, layer, &layer.inner_norm);
                }
            }
            RowTask::WithinInner(at) => {
                let encoder = layer(at).and_then(|layer| layer.encoder.as_ref());
                self.within_inner(encoder, rows, shares, lane);
            }
            RowTask::AfterInner(at) => {
                if let Some(layer) = layer(at) {
                    self.add_to_stream(&layer.after_inner(), rows, shares, lane);
                }
            }
            RowTask::Experts(task) => {
                self.perform_experts(state, task, (part.index, rows), shares, lane);
            }
        }
    }

    fn embed(&self, rows: &[Row], lane: &mut Lane) {
        lane.stream.clear();
        lane.angles.clear();
        for row in rows {
            let token = usize::try_from(row.token).unwrap_or(usize::MAX);
            let start = lane.stream.len();
            self.weights.embedding.read_row(token, &mut lane.stream);
            if let Some(scale) = self.weights.shape.embedding_scale {
                let embedded = &mut lane.stream[start..];
                embedded.iter_mut().for_each(|value| *value *= scale);
            }
            if let Some(encoder) = &self.weights.encoder {
                let epsilon = self.weights.shape.epsilon;
                let embedded = &mut lane.stream[start..];
                encoder.apply(row.position, embedded, &mut lane.normed, epsilon);
            }
            let position = f64::from(u32::try_from(row.position).unwrap_or(u32::MAX));
            let angles = self
                .frequencies
                .iter()
                .map(|frequency| angle(position * frequency));
            lane.angles.extend(angles);
        }
    }

    fn to_input(&self, lane: &mut Lane, layer: &Layer, norm: &[f32]) {
        let shape = &self.weights.shape;
        lane.input.clear();
        for row in lane.stream.chunks_exact(shape.width) {
            // The stream of an encoder is normed already.
            if layer.encoder.is_some() {
                lane.input.push(self.kernels, row);
                continue;
            }
            lane.normed.clear();
            self.kernels
                .normalize(row, norm, shape.epsilon, &mut lane.normed);
            lane.input.push(self.kernels, &lane.normed);
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
            let spans = block.seen(within).div_ceil(SPAN);
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
            lane.input.push(self.kernels, &lane.products);
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
            let items = state.items_of(index);
            if items.contains(&number) {
                let first = start(state.items.get(items.start));
                return &share.out[start(state.items.get(number)) - first..];
            }
        }
        &[]
    }

    /// Adds the products, as wide as the stream, to the stream; first normed, if they are.
    fn add_to_stream(
        &self,
        after: &After<'_>,
        rows: std::ops::Range<usize>,
        shares: &[RwLockReadGuard<'_, Share>],
        lane: &mut Lane,
    ) {
        let shape = &self.weights.shape;
        for (row, stream) in rows.zip(lane.stream.chunks_exact_mut(shape.width)) {
            gather(shares, row, shape.width.div_ceil(TILE), &mut lane.products);
            let products = &lane.products[..shape.width];
            match after {
                After::Added => add(stream, products),
                After::Normed(norm) => {
                    lane.normed.clear();
                    let epsilon = shape.epsilon;
                    self.kernels
                        .normalize(products, norm, epsilon, &mut lane.normed);
                    add(stream, &lane.normed);
                }
                After::Centered(offsets, norm) => {
                    add_and_norm(stream, products, (offsets, norm, shape.epsilon));
                }
            }
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
