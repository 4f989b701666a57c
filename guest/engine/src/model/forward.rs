//! The parts of a transformer step; their order is in `runner`.
//!
//! Serial parts (norms, rotation, writing the cache) run on the calling thread, which holds the
//! state for writing; products and attention run on the team, which reads it, each thread into
//! its own share. A row's numbers do not depend on the other rows of the step.

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use zeroize::Zeroize;

use super::Weights;
use super::cache::{Geometry, Half, KvCache};
use super::team::{Part, Work};
use crate::kernels::{
    ActivationBlock, Kernels, PackedMatrix, TILE, add_scaled, angle, dot, normalize, quantize,
    silu, softmax,
};

/// Names the cache of one sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot(pub(super) usize);

/// One token of one sequence in a step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// The sequence.
    pub(crate) slot: Slot,
    /// The token, below the vocabulary's size.
    pub(crate) token: u32,
    /// Its position; all earlier ones are in the cache or before it in the same step.
    pub(crate) position: usize,
}

impl Zeroize for Row {
    fn zeroize(&mut self) {
        self.token.zeroize();
        self.position.zeroize();
    }
}

/// What the team is told to compute.
#[derive(Debug, Clone, Copy)]
pub(super) enum Task {
    QueryKeyValue(usize),
    Attend(usize),
    Output(usize),
    GateUp(usize),
    Down(usize),
    Head,
}

/// What a step works on.
#[derive(Default)]
pub(super) struct State {
    pub(super) rows: Vec<Row>,
    /// Residual stream, row after row.
    pub(super) stream: Vec<f32>,
    /// Input of the next product.
    pub(super) input: Vec<ActivationBlock>,
    /// Rotated queries, row after row.
    pub(super) query: Vec<f32>,
    /// Cosine and sine of each pair of a head, row after row.
    pub(super) angles: Vec<(f32, f32)>,
    /// Gathered result of the last task.
    pub(super) products: Vec<f32>,
    /// A normed row or the like.
    pub(super) scratch: Vec<f32>,
    pub(super) caches: Vec<Option<KvCache>>,
}

/// What one thread writes.
#[derive(Default)]
struct Share {
    out: Vec<f32>,
    scores: Vec<f32>,
}

/// What the team works on and with.
pub(super) struct Forward<'a> {
    pub(super) weights: &'a Weights,
    kernels: Kernels,
    geometry: Geometry,
    /// Angle per position of each pair of a head.
    frequencies: Vec<f64>,
    state: RwLock<State>,
    shares: Vec<Mutex<Share>>,
}

impl Work for Forward<'_> {
    type Task = Task;

    fn perform(&self, task: Task, part: Part) {
        let state = self.read();
        let Some(mut share) = self.share(part.index) else {
            return;
        };
        let layer = |number: usize| self.weights.layers.get(number);
        match task {
            Task::QueryKeyValue(at) => {
                if let Some(layer) = layer(at) {
                    let matrices = [&layer.query, &layer.key, &layer.value];
                    self.project(&matrices, &state.input, part, &mut share);
                }
            }
            Task::Attend(at) => self.attend(&state, at, part, &mut share),
            Task::Output(at) => {
                if let Some(layer) = layer(at) {
                    self.project(&[&layer.output], &state.input, part, &mut share);
                }
            }
            Task::GateUp(at) => {
                if let Some(layer) = layer(at) {
                    self.gate_up(&layer.gate, &layer.up, &state.input, part, &mut share);
                }
            }
            Task::Down(at) => {
                if let Some(layer) = layer(at) {
                    self.project(&[&layer.down], &state.input, part, &mut share);
                }
            }
            Task::Head => {
                self.project(&[self.weights.head()], &state.input, part, &mut share);
            }
        }
    }
}

/// The parts that the team does.
#[allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "tensor loops: offsets are products of widths that the shape's limits keep small"
)]
impl Forward<'_> {
    /// The part's tiles of matrices that stand below each other, as `[row][column]`.
    fn project(
        &self,
        matrices: &[&PackedMatrix],
        input: &[ActivationBlock],
        part: Part,
        share: &mut Share,
    ) {
        let tiles = part.share(matrices.iter().map(|matrix| matrix.tiles()).sum());
        let stride = tiles.len() * TILE;
        let rows = rows_of(input, matrices);
        share.out.clear();
        share.out.resize(rows * stride, 0.0);
        let mut first = 0;
        for matrix in matrices {
            let end = first + matrix.tiles();
            let own = tiles.start.max(first)..tiles.end.min(end);
            if !own.is_empty() {
                let local = own.start - first..own.end - first;
                self.kernels
                    .multiply(matrix, local, input, |row, tile, sums| {
                        let at = row * stride + (first + tile - tiles.start) * TILE;
                        share.out[at..at + TILE].copy_from_slice(sums);
                    });
            }
            first = end;
        }
    }

    /// The part's tiles of `silu(gate) * up`.
    fn gate_up(
        &self,
        gate: &PackedMatrix,
        up: &PackedMatrix,
        input: &[ActivationBlock],
        part: Part,
        share: &mut Share,
    ) {
        self.project(&[gate], input, part, share);
        let tiles = part.share(up.tiles());
        let stride = tiles.len() * TILE;
        self.kernels
            .multiply(up, tiles.clone(), input, |row, tile, sums| {
                let at = row * stride + (tile - tiles.start) * TILE;
                for (out, up) in share.out[at..at + TILE].iter_mut().zip(sums) {
                    *out = silu(*out) * up;
                }
            });
    }

    /// Attention of the part's pairs of row and key head; a pair answers for the query heads that
    /// share the key head, so each key and value is read once.
    fn attend(&self, state: &State, layer: usize, part: Part, share: &mut Share) {
        let shape = &self.weights.shape;
        let group = shape.heads / shape.kv_heads;
        let width = group * shape.head;
        let scale = 1.0 / (shape.head as f32).sqrt();
        share.out.clear();
        for item in part.share(state.rows.len() * shape.kv_heads) {
            let row = state.rows[item / shape.kv_heads];
            let kv_head = item % shape.kv_heads;
            let queries = &state.query[item * width..][..width];
            let seen = row.position + 1;
            let start = share.out.len();
            share.out.resize(start + width, 0.0);
            let Some(Some(cache)) = state.caches.get(row.slot.0) else {
                continue;
            };
            share.scores.clear();
            share.scores.resize(group * seen, 0.0);
            let keys = cache.positions(&self.geometry, (layer, Half::Keys, kv_head));
            for (at, key) in keys.take(seen).enumerate() {
                for (head, query) in queries.chunks_exact(shape.head).enumerate() {
                    share.scores[head * seen + at] = dot(query, key) * scale;
                }
            }
            share.scores.chunks_exact_mut(seen).for_each(softmax);
            let values = cache.positions(&self.geometry, (layer, Half::Values, kv_head));
            for (at, value) in values.take(seen).enumerate() {
                for head in 0..group {
                    let out = &mut share.out[start + head * shape.head..][..shape.head];
                    add_scaled(out, share.scores[head * seen + at], value);
                }
            }
        }
    }
}

/// The serial parts.
#[allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "tensor loops: offsets are products of widths that the shape's limits keep small"
)]
impl Forward<'_> {
    pub(super) fn begin(&self, rows: &[Row]) {
        let state = &mut *self.write();
        state.rows.clear();
        state.rows.extend_from_slice(rows);
        state.stream.clear();
        state.angles.clear();
        for row in rows {
            let token = usize::try_from(row.token).unwrap_or(usize::MAX);
            self.weights.embedding.read_row(token, &mut state.stream);
            let position = f64::from(u32::try_from(row.position).unwrap_or(u32::MAX));
            let angles = self
                .frequencies
                .iter()
                .map(|frequency| angle(position * frequency));
            state.angles.extend(angles);
            if let Some(Some(cache)) = state.caches.get_mut(row.slot.0) {
                cache.reach(row.position, &self.geometry);
            }
        }
    }

    pub(super) fn before_attention(&self, layer: usize) {
        let norm = &self.weights.layers[layer].attention_norm;
        self.norm_to_input(&mut self.write(), norm);
    }

    fn norm_to_input(&self, state: &mut State, norm: &[f32]) {
        let shape = &self.weights.shape;
        state.input.clear();
        for row in state.stream.chunks_exact(shape.width) {
            state.scratch.clear();
            normalize(row, norm, shape.epsilon, &mut state.scratch);
            quantize(&state.scratch, &mut state.input);
        }
    }

    pub(super) fn rotate_and_store(&self, at: usize) {
        let state = &mut *self.write();
        let layer = &self.weights.layers[at];
        let shape = &self.weights.shape;
        let starts = [layer.query.tiles(), layer.key.tiles(), layer.value.tiles()];
        self.gather_products(state, starts.iter().sum());
        let key_start = starts[0] * TILE;
        let value_start = key_start + starts[1] * TILE;
        let stride = value_start + starts[2] * TILE;
        state.query.clear();
        let pairs = shape.head / 2;
        for (number, row) in state.rows.iter().enumerate() {
            let products = &mut state.products[number * stride..][..stride];
            let angles = &state.angles[number * pairs..][..pairs];
            rotate(&mut products[..shape.query_width()], angles, shape.head);
            rotate(
                &mut products[key_start..][..shape.kv_width()],
                angles,
                shape.head,
            );
            state
                .query
                .extend_from_slice(&products[..shape.query_width()]);
            if let Some(Some(cache)) = state.caches.get_mut(row.slot.0) {
                let key = &products[key_start..][..shape.kv_width()];
                cache.write(&self.geometry, (at, Half::Keys, row.position), key);
                let value = &products[value_start..][..shape.kv_width()];
                cache.write(&self.geometry, (at, Half::Values, row.position), value);
            }
        }
    }

    pub(super) fn after_attention(&self) {
        let state = &mut *self.write();
        state.products.clear();
        for part in 0..self.shares.len() {
            if let Some(share) = self.share(part) {
                state.products.extend_from_slice(&share.out);
            }
        }
        state.input.clear();
        quantize(&state.products, &mut state.input);
    }

    pub(super) fn before_inner(&self, at: usize) {
        let layer = &self.weights.layers[at];
        let state = &mut *self.write();
        self.add_to_stream(state);
        self.norm_to_input(state, &layer.inner_norm);
    }

    pub(super) fn between_inner(&self, at: usize) {
        let state = &mut *self.write();
        let tiles = self.weights.layers[at].gate.tiles();
        self.gather_products(state, tiles);
        state.input.clear();
        for row in state.products.chunks_exact(tiles * TILE) {
            quantize(&row[..self.weights.shape.inner], &mut state.input);
        }
    }

    pub(super) fn after_inner(&self) {
        self.add_to_stream(&mut self.write());
    }

    /// Adds the gathered products, as wide as the stream, to the stream.
    fn add_to_stream(&self, state: &mut State) {
        let width = self.weights.shape.width;
        self.gather_products(state, width.div_ceil(TILE));
        let rows = state.stream.chunks_exact_mut(width);
        for (row, products) in rows.zip(state.products.chunks_exact(width.next_multiple_of(TILE))) {
            row.iter_mut()
                .zip(products)
                .for_each(|(sum, product)| *sum += product);
        }
    }

    /// Puts the shares of a product of so many tiles together, as `[row][column]`.
    pub(super) fn gather_products(&self, state: &mut State, tiles: usize) {
        let stride = tiles * TILE;
        let total: usize = (0..self.shares.len())
            .filter_map(|part| self.share(part).map(|share| share.out.len()))
            .sum();
        state.products.clear();
        state.products.resize(total, 0.0);
        let of = self.shares.len();
        for index in 0..of {
            let columns = Part { index, of }.share(tiles);
            let width = columns.len() * TILE;
            let Some(share) = self.share(index) else {
                continue;
            };
            if width == 0 {
                continue;
            }
            for (row, values) in share.out.chunks_exact(width).enumerate() {
                let at = row * stride + columns.start * TILE;
                state.products[at..at + width].copy_from_slice(values);
            }
        }
    }
}

impl<'w> Forward<'w> {
    /// Empty state over these weights.
    pub(super) fn new(weights: &'w Weights, kernels: Kernels, threads: usize) -> Self {
        let shape = &weights.shape;
        let number = |value: usize| f64::from(u32::try_from(value).unwrap_or(u32::MAX));
        let pairs = (0..shape.head / 2).map(|pair| {
            let share = 2.0 * number(pair) / number(shape.head);
            f64::from(shape.rope_base).powf(-share)
        });
        Self {
            weights,
            kernels,
            geometry: Geometry::of(shape),
            frequencies: pairs.collect(),
            state: RwLock::default(),
            shares: (0..threads).map(|_| Mutex::default()).collect(),
        }
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn share(&self, part: usize) -> Option<MutexGuard<'_, Share>> {
        let share = self.shares.get(part)?;
        Some(share.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Overwrites everything that held numbers of a request.
    pub(super) fn wipe(&self) {
        let state = &mut *self.write();
        state.rows.zeroize();
        state.stream.zeroize();
        state.input.zeroize();
        state.query.zeroize();
        state.products.zeroize();
        state.scratch.zeroize();
        for part in 0..self.shares.len() {
            if let Some(mut share) = self.share(part) {
                share.out.zeroize();
                share.scores.zeroize();
            }
        }
    }
}

/// Rows of an input for matrices of one width.
fn rows_of(input: &[ActivationBlock], matrices: &[&PackedMatrix]) -> usize {
    let width = matrices.first().map_or(0, |matrix| matrix.blocks_per_row);
    input.len().checked_div(width).unwrap_or(0)
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
