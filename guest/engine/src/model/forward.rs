//! The parts of a transformer step; their order is in `runner`.
//!
//! Two kinds of task take turns. Products and attention are cut by what they compute, over all
//! rows: each thread reads every lane and writes its own share. The work of single rows (norms,
//! rotation, rounding) is cut by rows: each thread reads every share and writes its own lane. So
//! nothing is serial but writing the cache, and a row's numbers depend on no other row.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::Weights;
use super::cache::{Geometry, PAGE};
use super::lanes::{RowTask, gather};
use super::matrix::{Inputs, Matrix};
use super::rows::{Cut, Lane, Row, Share, State, lane_rows};
use super::shape::Activation;
use super::team::{Part, Work};
use crate::kernels::{Kernels, ROWS, SPAN, SpanTask, TILE};

/// What the team is told to compute.
#[derive(Debug, Clone, Copy)]
pub(super) enum Task {
    QueryKeyValue(usize),
    Attend(usize),
    Output(usize),
    /// A layer's gate and up projection, of an expert if it has any.
    GateUp(usize, usize),
    /// And the projection back to the stream.
    Down(usize, usize),
    /// What chooses experts.
    Route(usize),
    Head,
    /// The work of single rows.
    Rows(RowTask),
}

/// What the team works on and with.
pub(super) struct Forward<'a> {
    pub(super) weights: &'a Weights,
    pub(super) kernels: Kernels,
    geometry: Geometry,
    pub(super) cut: Cut,
    /// Angle per position of each pair of a head: see `Shape::frequencies`.
    pub(super) frequencies: Vec<f64>,
    state: RwLock<State>,
    pub(super) lanes: Vec<RwLock<Lane>>,
    pub(super) shares: Vec<RwLock<Share>>,
}

impl Work for Forward<'_> {
    type Task = Task;

    fn perform(&self, task: Task, part: Part) {
        let state = self.read();
        if let Task::Rows(task) = task {
            return self.perform_rows(&state, task, part);
        }
        let Some(mut share) = self.shares.get(part.index).map(writing) else {
            return;
        };
        let share = &mut *share;
        let layer = |number: usize| self.weights.layers.get(number);
        match task {
            Task::QueryKeyValue(at) => {
                if let Some(layer) = layer(at) {
                    self.project(&[&layer.query, &layer.key, &layer.value], part, share);
                }
            }
            Task::Attend(at) => self.attend(&state, at, part, share),
            Task::Output(at) => {
                if let Some(layer) = layer(at) {
                    self.project(&[&layer.output], part, share);
                }
            }
            Task::GateUp(at, expert) => {
                if let Some(inner) = layer(at).and_then(|layer| layer.feed.inner(expert)) {
                    match &inner.gate {
                        Some(gate) => self.project_gated(gate, &inner.up, part, share),
                        None => self.project(&[&inner.up], part, share),
                    }
                }
            }
            Task::Down(at, expert) => {
                if let Some(inner) = layer(at).and_then(|layer| layer.feed.inner(expert)) {
                    self.project(&[&inner.down], part, share);
                }
            }
            Task::Route(at) => {
                if let Some(router) = layer(at).and_then(|layer| layer.feed.router()) {
                    self.project(&[router], part, share);
                }
            }
            Task::Head => {
                let head = [self.weights.head()];
                let input = std::iter::once(&state.head_input);
                let mut input = Inputs::of(input, &head, self.kernels, &mut share.room);
                self.multiply(&head, &mut input, part, &mut share.out);
            }
            Task::Rows(_) => {}
        }
    }
}

/// The parts that are cut by what they compute.
#[allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "tensor loops: offsets are products of widths that the shape's limits keep small"
)]
impl Forward<'_> {
    /// The part's tiles of matrices that stand below each other, of all lanes.
    fn project(&self, matrices: &[&Matrix], part: Part, share: &mut Share) {
        let lanes: Vec<_> = self.lanes.iter().map(reading).collect();
        let inputs = lanes.iter().map(|lane| &lane.input);
        let mut inputs = Inputs::of(inputs, matrices, self.kernels, &mut share.room);
        self.multiply(matrices, &mut inputs, part, &mut share.out);
    }

    /// The same of two matrices beside each other: what the one gives, gated by the other.
    fn project_gated(&self, gate: &Matrix, up: &Matrix, part: Part, share: &mut Share) {
        let lanes: Vec<_> = self.lanes.iter().map(reading).collect();
        let inputs = lanes.iter().map(|lane| &lane.input);
        let mut inputs = Inputs::of(inputs, &[gate, up], self.kernels, &mut share.room);
        let up = self.multiply(&[up], &mut inputs, part, &mut share.beside);
        let gate = self.multiply(&[gate], &mut inputs, part, &mut share.out);
        match self.weights.shape.activation {
            Activation::Silu => self.kernels.silu_times(gate, up),
            Activation::Gelu => self.kernels.gelu_times(gate, up),
        }
    }

    /// Writes `[row][column]`, the columns of the part's tiles.
    fn multiply<'o>(
        &self,
        matrices: &[&Matrix],
        inputs: &mut Inputs<'_>,
        part: Part,
        out: &'o mut Vec<f32>,
    ) -> &'o mut [f32] {
        let tiles = part.share(matrices.iter().map(|matrix| matrix.tiles()).sum());
        let stride = tiles.len() * TILE;
        let columns = matrices.first().map_or(1, |matrix| matrix.columns());
        let out = room_for(inputs.rows(columns) * stride, out);
        let mut first = 0;
        for matrix in matrices {
            let end = first + matrix.tiles();
            let own = tiles.start.max(first)..tiles.end.min(end);
            if !own.is_empty() {
                let local = own.start - first..own.end - first;
                matrix.multiply(self.kernels, local, inputs, |row, tile, sums| {
                    let at = row * stride + (first + tile - tiles.start) * TILE;
                    out[at..at + TILE].copy_from_slice(sums);
                });
            }
            first = end;
        }
        out
    }

    /// Attention of the part's items.
    fn attend(&self, state: &State, layer: usize, part: Part, share: &mut Share) {
        let lanes: Vec<_> = self.lanes.iter().map(reading).collect();
        let items = &state.items[state.items_of(part.index)];
        let floats = items.iter().map(|item| self.cut.item_floats(&item.block));
        let all = room_for(floats.sum(), &mut share.out);
        let mut start = 0;
        for item in items {
            let out = &mut all[start..][..self.cut.item_floats(&item.block)];
            start += out.len();
            // Queries of the item's head, row after row.
            share.beside.clear();
            for row in item.block.row..item.block.row + item.block.rows {
                share
                    .beside
                    .extend_from_slice(self.queries(state, &lanes, row, item.kv_head));
            }
            let Some(Some(cache)) = state.caches.get(item.block.slot.0) else {
                continue;
            };
            let place = (layer, item.kv_head, item.span);
            let (keys, values) = cache.span(&self.geometry, place);
            let seen = |row: usize| {
                let seen = item.block.seen(row);
                seen.saturating_sub(item.span * SPAN).min(SPAN)
            };
            let seen: Vec<usize> = (0..item.block.rows).map(seen).collect();
            let window = self.weights.shape.window_of(layer).unwrap_or(usize::MAX);
            let passed = |row: usize| {
                let passed = (item.block.position + row + 1).saturating_sub(window);
                passed.saturating_sub(item.span * SPAN).min(SPAN)
            };
            let passed: Vec<usize> = (0..item.block.rows).map(passed).collect();
            let pages = seen.last().map_or(0, |most| most.div_ceil(PAGE));
            let task = SpanTask {
                queries: &share.beside,
                head: self.cut.head,
                seen: &seen,
                passed: &passed,
                scale: self.weights.shape.score_scale,
                keys: &keys[..pages],
                values: &values[..pages],
            };
            self.kernels.span(&task, &mut share.span, out);
            let floats = out.len() / item.block.rows;
            for (row, out) in out.chunks_exact_mut(floats).enumerate() {
                if cache.is_spoiled_at(item.block.position + row) {
                    out.fill(f32::NAN);
                }
            }
        }
    }

    /// The queries of a row that share a key head.
    fn queries<'l>(
        &self,
        state: &State,
        lanes: &'l [RwLockReadGuard<'_, Lane>],
        row: usize,
        kv_head: usize,
    ) -> &'l [f32] {
        let width = self.cut.group * self.cut.head;
        for (index, lane) in lanes.iter().enumerate() {
            let part = Part {
                index,
                of: lanes.len(),
            };
            let rows = lane_rows(part, state.rows.len());
            if rows.contains(&row) {
                let heads = (row - rows.start) * self.cut.kv_heads + kv_head;
                return &lane.query[heads * width..][..width];
            }
        }
        &[]
    }
}

/// What the calling thread does alone.
#[allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "tensor loops: offsets are products of widths that the shape's limits keep small"
)]
impl Forward<'_> {
    /// Whether a step's rows are so few that one thread does their work.
    pub(super) fn one_lane(&self) -> bool {
        self.read().rows.len() <= ROWS
    }

    /// The work of all rows on the calling thread.
    pub(super) fn rows_alone(&self, task: RowTask) {
        let of = self.lanes.len();
        let state = self.read();
        (0..of).for_each(|index| self.perform_rows(&state, task, Part { index, of }));
    }

    pub(super) fn begin(&self, rows: &[Row]) {
        let state = &mut *self.write();
        let whole = self.weights.shape.parts.encoder;
        state.take_rows(rows, &self.cut, whole, self.shares.len());
        for row in rows {
            if let Some(Some(cache)) = state.caches.get_mut(row.slot.0) {
                cache.reach(row.position, &self.geometry);
            }
        }
    }

    /// Writes the rows' keys and values of a layer to their caches.
    pub(super) fn store(&self, layer: usize) {
        let state = &mut *self.write();
        let width = self.weights.shape.kv_width();
        let mut rows = state.rows.iter();
        for lane in &self.lanes {
            let lane = reading(lane);
            let heads = lane.key.chunks_exact(width);
            for (keys, values) in heads.zip(lane.value.chunks_exact(width)) {
                let Some(row) = rows.next() else {
                    return;
                };
                if let Some(Some(cache)) = state.caches.get_mut(row.slot.0) {
                    let place = (layer, row.position);
                    cache.write(self.kernels, &self.geometry, place, keys, values);
                }
            }
        }
    }

    /// The residual stream of a row.
    pub(super) fn with_stream(&self, row: usize, take: impl FnOnce(&[f32])) {
        let width = self.weights.shape.width;
        let mut before = 0;
        for lane in &self.lanes {
            let lane = reading(lane);
            let rows = lane.stream.len() / width;
            if row < before + rows {
                return take(&lane.stream[(row - before) * width..][..width]);
            }
            before += rows;
        }
    }

    /// Appends a row of the head's products.
    pub(super) fn gather_head(&self, row: usize, out: &mut Vec<f32>) {
        let shares: Vec<_> = self.shares.iter().map(reading).collect();
        gather(&shares, row, self.weights.head().tiles(), out);
    }
}

impl<'w> Forward<'w> {
    /// Empty state over these weights.
    pub(super) fn new(weights: &'w Weights, kernels: Kernels, threads: usize) -> Self {
        let shape = &weights.shape;
        Self {
            weights,
            kernels,
            geometry: Geometry::of(weights),
            cut: Cut {
                kv_heads: shape.kv_heads,
                group: shape.heads.checked_div(shape.kv_heads).unwrap_or(1),
                head: shape.head,
            },
            frequencies: weights.frequencies(),
            state: RwLock::default(),
            lanes: (0..threads).map(|_| RwLock::default()).collect(),
            shares: (0..threads).map(|_| RwLock::default()).collect(),
        }
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, State> {
        reading(&self.state)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, State> {
        writing(&self.state)
    }

    /// Numbers that the buffers of steps hold.
    #[cfg(test)]
    #[allow(clippy::arithmetic_side_effects, reason = "a few lengths")]
    pub(super) fn held(&self) -> usize {
        let lanes = self.lanes.iter().map(reading);
        let lanes = lanes.map(|lane| lane.stream.len() + lane.query.len() + lane.input.len());
        let shares = self.shares.iter().map(|share| reading(share).out.len());
        lanes.sum::<usize>() + shares.sum::<usize>()
    }

    /// Overwrites everything that held numbers of a request.
    pub(super) fn wipe(&self) {
        self.write().wipe();
        self.lanes.iter().for_each(|lane| writing(lane).wipe());
        self.shares.iter().for_each(|share| writing(share).wipe());
    }
}

/// So many floats, all of which the caller writes: what was there before is not cleared, and what
/// is behind them is kept.
fn room_for(count: usize, floats: &mut Vec<f32>) -> &mut [f32] {
    if floats.len() < count {
        floats.resize(count, 0.0);
    }
    floats.get_mut(..count).unwrap_or_default()
}

pub(super) fn reading<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn writing<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
