//! What each kernel computes, on the CPU, in plain order: the truth that GPU tests compare with.
//! Numbers are f32, sums f64, and activations and cache are never rounded to 16 bits. Not here:
//! speed.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "tensor loops over slices whose lengths come from one shape"
)]

use crate::seeded::{tensors, values};
use engine_cuda::layout::Layout;
use engine_cuda::shape::Shape;
use engine_cuda::step::Choice;

/// `out[row] = sum of matrix[row][k] * x[k]`.
#[must_use]
pub fn product(matrix: &[f32], x: &[f32]) -> Vec<f32> {
    let rows = matrix.chunks_exact(x.len());
    rows.map(|row| {
        let sum: f64 = row
            .iter()
            .zip(x)
            .map(|(w, x)| f64::from(*w) * f64::from(*x))
            .sum();
        sum as f32
    })
    .collect()
}

/// RMS norm.
#[must_use]
pub fn norm(stream: &[f32], weights: &[f32], epsilon: f32) -> Vec<f32> {
    let squares: f64 = stream.iter().map(|v| f64::from(*v) * f64::from(*v)).sum();
    let factor = 1.0 / (squares / stream.len() as f64 + f64::from(epsilon)).sqrt();
    let scaled = stream.iter().zip(weights);
    scaled
        .map(|(v, w)| (f64::from(*v) * factor) as f32 * w)
        .collect()
}

/// SiLU of the gate times the other projection, from a product whose rows go by eights.
#[must_use]
pub fn silu(gate_up: &[f32]) -> Vec<f32> {
    let tiles = gate_up.chunks_exact(16);
    tiles
        .flat_map(|tile| {
            let (gate, up) = tile.split_at(8);
            let pairs = gate.iter().zip(up);
            pairs
                .map(|(g, u)| g / (1.0 + (-g).exp()) * u)
                .collect::<Vec<f32>>()
        })
        .collect()
}

/// Cosine and sine of each pair of a head at a position.
#[must_use]
pub fn angles(width: usize, position: u32, base: f32) -> Vec<[f32; 2]> {
    let pairs = 0..width / 2;
    pairs
        .map(|at| {
            let share = -2.0 * at as f64 / width as f64;
            let angle = f64::from(position) * f64::from(base).powf(share);
            [angle.cos() as f32, angle.sin() as f32]
        })
        .collect()
}

/// Turns neighbouring pairs of each head by the position's angles.
pub fn turn(heads: &mut [f32], width: usize, position: u32, base: f32) {
    turn_by(heads, width, &angles(width, position, base));
}

/// The same, by these angles.
pub fn turn_by(heads: &mut [f32], width: usize, angles: &[[f32; 2]]) {
    for head in heads.chunks_exact_mut(width) {
        let (pairs, _) = head.as_chunks_mut::<2>();
        for ([even, odd], [cosine, sine]) in pairs.iter_mut().zip(angles) {
            (*even, *odd) = (*even * cosine - *odd * sine, *even * sine + *odd * cosine);
        }
    }
}

/// Attention of all query heads over keys and values, each `[position][kv head][width]`.
#[must_use]
pub fn attention(shape: &Shape, query: &[f32], keys: &[f32], values: &[f32]) -> Vec<f32> {
    let (width, kv_heads) = (shape.head as usize, shape.kv_heads as usize);
    let group = shape.group() as usize;
    let row = kv_heads * width;
    let mut out = Vec::with_capacity(query.len());
    for (head, query) in query.chunks_exact(width).enumerate() {
        let at = head / group * width;
        let part = |all: &[f32], position: usize| -> Vec<f32> {
            all[position * row + at..][..width].to_vec()
        };
        let positions = keys.len() / row;
        let scores: Vec<f64> = (0..positions)
            .map(|position| {
                let key = part(keys, position);
                let dot: f64 = query
                    .iter()
                    .zip(&key)
                    .map(|(q, k)| f64::from(*q) * f64::from(*k))
                    .sum();
                dot / (width as f64).sqrt()
            })
            .collect();
        let most = scores.iter().copied().fold(f64::MIN, f64::max);
        let weights: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
        let total: f64 = weights.iter().sum();
        let mut sums = vec![0.0_f64; width];
        for (position, weight) in weights.iter().enumerate() {
            let value = part(values, position);
            let sums = sums.iter_mut().zip(&value);
            sums.for_each(|(sum, value)| *sum += weight * f64::from(*value));
        }
        out.extend(sums.iter().map(|sum| (sum / total) as f32));
    }
    out
}

/// The token that a row's logits give: `docs/spec/engine-ipc.md`, Sampling, steps 2 to 5. Where one
/// is not finite, no matter: the greatest.
#[must_use]
pub fn sample(logits: &[f32], choice: Choice) -> u32 {
    let mut best = (0, f32::NEG_INFINITY);
    for (at, logit) in logits.iter().enumerate() {
        if *logit > best.1 {
            best = (at, *logit);
        }
    }
    let finite = logits.iter().all(|logit| logit.is_finite());
    if choice.sharpness <= 0.0 || !finite {
        return best.0 as u32;
    }
    let weights = logits
        .iter()
        .map(|logit| exp((logit - best.1) * choice.sharpness));
    let mut left: Vec<(f32, usize)> = weights.zip(0..).collect();
    left.retain(|(weight, _)| *weight >= f32::from(choice.min_p_milli) / 1000.0);
    let most = if choice.top_k == 0 {
        usize::MAX
    } else {
        choice.top_k as usize
    };
    if most < left.len() || choice.top_p_milli < 1000 {
        left.sort_by(|one, other| other.0.total_cmp(&one.0));
    }
    left.truncate(most);
    let wanted =
        u128::from(sums(&left).last().copied().unwrap_or(0)) * u128::from(choice.top_p_milli);
    let short = sums(&left).partition_point(|sum| u128::from(*sum) * 1000 < wanted);
    left.truncate(short + 1);
    let sums = sums(&left);
    let target = u128::from(sums.last().copied().unwrap_or(0)) * u128::from(choice.drawn >> 11);
    let before = sums.partition_point(|sum| u128::from(*sum) << 53 <= target);
    left[before].1 as u32
}

/// The sum of weights up to each.
fn sums(weights: &[(f32, usize)]) -> Vec<u64> {
    let mut sum = 0;
    let units = weights.iter().map(|(weight, _)| units(*weight));
    units
        .map(|units| {
            sum += units;
            sum
        })
        .collect()
}

/// Step 1 of Sampling: what is added to logits of an answer that has each token so often.
pub fn shift(logits: &mut [f32], choice: Choice, shifts: &[(u32, i32)], counts: &[u16]) {
    for (token, milli) in shifts {
        logits[*token as usize] += *milli as f32 / 1000.0;
    }
    if !choice.is_penalised() {
        return;
    }
    let (presence, frequency) = (choice.presence_milli, choice.frequency_milli);
    for (logit, times) in logits.iter_mut().zip(counts) {
        if *times > 0 {
            let penalty = i32::from(presence) + i32::from(frequency) * i32::from(*times);
            *logit += -penalty as f32 / 1000.0;
        }
    }
}

/// A weight in units of 2^-40.
fn units(weight: f32) -> u64 {
    (f64::from(weight) * 2.0_f64.powi(40)) as u64
}

/// What the engine takes for `e^x`, for an x that is not above 0 (`guest/engine/src/kernels`).
#[must_use]
pub fn exp(x: f32) -> f32 {
    if x < -87.0 {
        return 0.0;
    }
    let n = ((x * std::f32::consts::LOG2_E) + 12_582_912.0) - 12_582_912.0;
    let r = (x - n * 0.693_359_4) - n * -2.121_944_4e-4;
    let polynomial = [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5];
    let p = polynomial
        .iter()
        .fold(1.987_569_1e-4, |p, more| p * r + more);
    (p * r * r + r + 1.0) * 2.0_f32.powi(n as i32)
}

struct Block {
    attention_norm: Vec<f32>,
    qkv: Vec<f32>,
    output: Vec<f32>,
    inner_norm: Vec<f32>,
    gate_up: Vec<f32>,
    down: Vec<f32>,
}

/// A seeded model.
pub struct Model {
    shape: Shape,
    embedding: Vec<f32>,
    blocks: Vec<Block>,
    norm: Vec<f32>,
    head: Vec<f32>,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("shape", &self.shape).finish()
    }
}

/// Keys and values of one answer, for each layer.
#[derive(Debug, Clone, Default)]
pub struct Cache(pub(crate) Vec<(Vec<f32>, Vec<f32>)>);

impl Model {
    /// The numbers that [`crate::seeded::filling`] makes on the device.
    #[must_use]
    pub fn new(layout: &Layout, seed: u64) -> Self {
        Self::of(layout, tensors(layout, seed).iter().map(values))
    }

    /// Of tensors in the order of [`crate::seeded::tensors`], row by row.
    pub(crate) fn of(layout: &Layout, mut tensors: impl Iterator<Item = Vec<f32>>) -> Self {
        let mut next = || tensors.next().unwrap_or_default();
        let embedding = next();
        let blocks = layout.layers.iter().map(|_| Block {
            attention_norm: next(),
            qkv: next(),
            output: next(),
            inner_norm: next(),
            gate_up: next(),
            down: next(),
        });
        let blocks = blocks.collect();
        Self {
            shape: layout.shape,
            embedding,
            blocks,
            norm: next(),
            head: next(),
        }
    }

    /// The logits behind a token. `cache` holds the positions before it, and then this one too.
    #[must_use]
    pub fn logits(&self, cache: &mut Cache, token: u32) -> Vec<f32> {
        let shape = &self.shape;
        let kv_width = (shape.kv_heads * shape.head) as usize;
        let keys = cache.0.first().map_or(0, |(keys, _)| keys.len());
        let position = (keys / kv_width) as u32;
        let angles = angles(shape.head as usize, position, shape.rope_base);
        self.logits_by(cache, token, &angles)
    }

    /// The same, with these angles of the position.
    pub(crate) fn logits_by(&self, cache: &mut Cache, token: u32, angles: &[[f32; 2]]) -> Vec<f32> {
        let shape = &self.shape;
        let (width, head) = (shape.width as usize, shape.head as usize);
        cache.0.resize_with(self.blocks.len(), Default::default);
        let mut stream = self.embedding[token as usize * width..][..width].to_vec();
        let add = |stream: &mut Vec<f32>, more: &[f32]| {
            let pairs = stream.iter_mut().zip(more);
            pairs.for_each(|(sum, more)| *sum += more);
        };
        for (block, (keys, values)) in self.blocks.iter().zip(&mut cache.0) {
            let normed = norm(&stream, &block.attention_norm, shape.epsilon);
            let mut qkv = product(&block.qkv, &normed);
            let kv_width = shape.kv_heads as usize * head;
            let (turned, value) = qkv.split_at_mut(shape.query_width() as usize + kv_width);
            turn_by(turned, head, angles);
            let (query, key) = turned.split_at(shape.query_width() as usize);
            keys.extend_from_slice(key);
            values.extend_from_slice(value);
            let attended = attention(shape, query, keys, values);
            add(&mut stream, &product(&block.output, &attended));
            let normed = norm(&stream, &block.inner_norm, shape.epsilon);
            let inner = silu(&product(&block.gate_up, &normed));
            add(&mut stream, &product(&block.down, &inner));
        }
        product(&self.head, &norm(&stream, &self.norm, shape.epsilon))
    }
}
