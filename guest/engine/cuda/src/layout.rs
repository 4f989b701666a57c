//! Where everything lies: one arena each for weights, the KV cache, and the work of a step. All of
//! it is decided before anything is reserved, and nothing moves afterwards, so that recorded graphs
//! may hold addresses. Not here: any address, any device.
#![allow(
    clippy::arithmetic_side_effects,
    reason = "sums and products of the numbers of a checked shape, far below 2^63"
)]

use crate::shape::{Limits, MAX_ROWS, PAGE, Precision, SPLIT, Shape, Unsupported};
use crate::step;

/// The arenas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arena {
    /// Written once, read every step.
    Weights,
    /// Keys and values in pages.
    Cache,
    /// Input, output, state of the slots, activations.
    Work,
}

/// The arenas in the order of [`Layout::sizes`].
pub const ARENAS: [Arena; 3] = [Arena::Weights, Arena::Cache, Arena::Work];

/// A part of an arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// Whose part.
    pub arena: Arena,
    /// Where it begins, in bytes; a multiple of 256.
    pub offset: u64,
    /// Its length in bytes.
    pub bytes: u64,
}

/// A packed matrix, its rows up to a multiple of 128 there but zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matrix {
    /// The weights.
    pub weights: Region,
    /// A scale for each row, for those that have one.
    pub scales: Option<Region>,
    /// Rows.
    pub rows: u32,
    /// Columns; a multiple of 32.
    pub columns: u32,
    /// How it is stored.
    pub precision: Precision,
}

/// One transformer block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layer {
    /// Weights of the norm before attention.
    pub attention_norm: Region,
    /// Queries, keys, values, in this order.
    pub qkv: Matrix,
    /// After attention.
    pub output: Matrix,
    /// Weights of the norm before the feed-forward part.
    pub inner_norm: Region,
    /// Of each 16 rows, eight of the gate and eight of the other projection.
    pub gate_up: Matrix,
    /// After the feed-forward part.
    pub down: Matrix,
    /// This layer's pages.
    pub pages: Region,
}

/// What a step works on, in [`Arena::Work`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Inputs of even and odd steps.
    pub inputs: [Region; 2],
    /// Outputs of even and odd steps.
    pub outputs: [Region; 2],
    /// For each slot: the token that was chosen last.
    pub last: Region,
    /// For each slot: its position.
    pub slot_positions: Region,
    /// For each slot: its pages.
    pub tables: Region,
    /// For each slot: what is added to which logits, as it crossed.
    pub shifts: Region,
    /// For each slot and token: how often its answer has it, 16 bits; kept where that counts.
    pub counts: Region,
    /// For each row: slot, position (or -1), token.
    pub slots: Region,
    /// See `slots`.
    pub positions: Region,
    /// See `slots`.
    pub tokens: Region,
    /// The residual stream, f32.
    pub stream: Region,
    /// Normed activations, packed.
    pub normed: Region,
    /// Queries, keys and values as they come from their product, f32.
    pub qkv: Region,
    /// Turned queries, bf16.
    pub queries: Region,
    /// Sums of parts of attention.
    pub parts: Region,
    /// Counts of parts that ended.
    pub finished: Region,
    /// Results of attention, packed.
    pub attended: Region,
    /// Activations inside the feed-forward part, packed.
    pub inner: Region,
    /// Logits, f32.
    pub logits: Region,
}

/// The whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    /// Of which model.
    pub shape: Shape,
    /// For which requests.
    pub limits: Limits,
    /// The embedding, one row a token, bf16.
    pub embedding: Region,
    /// Cosine and sine of each position and pair.
    pub angles: Region,
    /// The blocks.
    pub layers: Vec<Layer>,
    /// Weights of the last norm.
    pub norm: Region,
    /// Gives logits; always 16-bit.
    pub head: Matrix,
    /// What a step works on.
    pub work: Work,
    /// Bytes of the arenas.
    pub sizes: [u64; 3],
}

struct Room {
    arena: Arena,
    used: u64,
}

impl Room {
    const fn new(arena: Arena) -> Self {
        Self { arena, used: 0 }
    }

    fn take(&mut self, bytes: u64) -> Region {
        let offset = self.used;
        self.used = (offset + bytes).next_multiple_of(256);
        Region {
            arena: self.arena,
            offset,
            bytes,
        }
    }

    fn matrix(&mut self, rows: u32, columns: u32, precision: Precision) -> Matrix {
        let padded = u64::from(rows).next_multiple_of(128);
        let weights = self.take(padded * u64::from(columns) * precision.bytes());
        let scales = match precision {
            Precision::Bf16 => None,
            Precision::Fp8 => Some(self.take(4 * padded)),
        };
        Matrix {
            weights,
            scales,
            rows,
            columns,
            precision,
        }
    }
}

impl Layout {
    /// Decides where everything lies.
    ///
    /// # Errors
    /// [`Unsupported`].
    pub fn new(shape: Shape, limits: Limits, precision: Precision) -> Result<Self, Unsupported> {
        shape.check(&limits)?;
        let wide = |count: u32| u64::from(count);
        let (mut weights, mut cache) = (Room::new(Arena::Weights), Room::new(Arena::Cache));
        let embedding = weights.take(2 * wide(shape.vocabulary) * wide(shape.width));
        let angles = weights.take(4 * wide(limits.context) * wide(shape.head));
        let page = 4 * wide(shape.kv_heads) * wide(PAGE) * wide(shape.head);
        let layers = (0..shape.layers).map(|_| Layer {
            attention_norm: weights.take(4 * wide(shape.width)),
            qkv: weights.matrix(shape.qkv_width(), shape.width, precision),
            output: weights.matrix(shape.width, shape.query_width(), precision),
            inner_norm: weights.take(4 * wide(shape.width)),
            gate_up: weights.matrix(2 * shape.inner, shape.width, precision),
            down: weights.matrix(shape.width, shape.inner, precision),
            pages: cache.take(page * wide(limits.pages)),
        });
        let layers = layers.collect();
        let norm = weights.take(4 * wide(shape.width));
        let head = weights.matrix(shape.vocabulary, shape.width, Precision::Bf16);
        let (work, used) = Work::new(&shape, &limits);
        Ok(Self {
            shape,
            limits,
            embedding,
            angles,
            layers,
            norm,
            head,
            work,
            sizes: [weights.used, cache.used, used],
        })
    }

    /// Bytes of weights that a step of one row reads: all but the embedding and unused angles.
    #[must_use]
    pub fn bytes_of_a_step(&self) -> u64 {
        let [weights, ..] = self.sizes;
        weights - self.embedding.bytes - self.angles.bytes
    }

    /// Bytes of keys and values of one position in all layers.
    #[must_use]
    pub const fn bytes_of_a_position(&self) -> u64 {
        let width = self.shape.kv_heads as u64 * self.shape.head as u64;
        4 * width * self.shape.layers as u64
    }

    /// Pages in a slot's table.
    #[must_use]
    pub fn table_width(&self) -> u32 {
        self.limits.context.div_ceil(PAGE)
    }

    /// Parts of the longest attention.
    #[must_use]
    pub fn splits(&self) -> u32 {
        self.limits.context.div_ceil(SPLIT)
    }
}

impl Work {
    fn new(shape: &Shape, limits: &Limits) -> (Self, u64) {
        let (wide, rows) = (|count: u32| u64::from(count), u64::from(MAX_ROWS));
        let slots = wide(limits.slots);
        let splits = wide(limits.context.div_ceil(SPLIT));
        let mut room = Room::new(Arena::Work);
        let mut pair = |bytes| [room.take(bytes), room.take(bytes)];
        let (inputs, outputs) = (pair(step::INPUT_BYTES), pair(step::OUTPUT_BYTES));
        let work = Self {
            inputs,
            outputs,
            last: room.take(4 * slots),
            slot_positions: room.take(4 * slots),
            tables: room.take(4 * slots * wide(limits.context.div_ceil(PAGE))),
            shifts: room.take(step::SHIFTS_BYTES * slots),
            counts: room.take(2 * slots * wide(shape.vocabulary)),
            slots: room.take(4 * rows),
            positions: room.take(4 * rows),
            tokens: room.take(4 * rows),
            stream: room.take(4 * rows * wide(shape.width)),
            normed: room.take(2 * rows * wide(shape.width)),
            qkv: room.take(4 * rows * wide(shape.qkv_width())),
            queries: room.take(2 * rows * wide(shape.query_width())),
            parts: room.take(4 * rows * splits * wide(shape.heads) * wide(shape.head + 2)),
            finished: room.take(4 * rows * wide(shape.kv_heads)),
            attended: room.take(2 * rows * wide(shape.query_width())),
            inner: room.take(2 * rows * wide(shape.inner)),
            logits: room.take(4 * rows * wide(shape.vocabulary)),
        };
        (work, room.used)
    }
}
