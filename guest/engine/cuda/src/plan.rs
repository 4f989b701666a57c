//! A decode step as a list of kernels with their arguments: pure data, recorded as one graph per
//! batch bucket and parity. Not here: how a kernel is launched.
#![allow(
    clippy::arithmetic_side_effects,
    reason = "sizes of grids from the numbers of a checked shape"
)]

use crate::layout::{Layer, Layout, Matrix, Region};
use crate::shape::{MAX_ROWS, PAGE, SPLIT};
use crate::step::{WIPES, WIPES_AT};

/// An argument of a kernel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Argument {
    /// The address of a part of an arena.
    At(Region),
    /// No address.
    Null,
    /// A 32-bit number.
    Number(u32),
    /// A 64-bit number.
    Long(u64),
    /// A float.
    Float(f32),
}

/// One launch of a kernel.
#[derive(Debug, Clone, PartialEq)]
pub struct Launch {
    /// The kernel's name.
    pub kernel: String,
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: u32,
    /// In the order of the kernel's parameters.
    pub arguments: Vec<Argument>,
}

/// What a product does with its sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Epilogue {
    /// Stores them, f32.
    Store,
    /// Adds them to what is there, f32.
    Add,
    /// Gate and other projection to packed activations.
    Silu,
}

use Argument::{At, Float, Long, Null, Number};

fn launch(kernel: &str, grid: [u32; 3], block: u32, arguments: Vec<Argument>) -> Launch {
    Launch {
        kernel: kernel.to_owned(),
        grid,
        block,
        arguments,
    }
}

/// Groups of eight rows in which activations of a bucket are packed.
#[must_use]
pub const fn n_tiles(bucket: u32) -> u32 {
    bucket.div_ceil(8)
}

/// The product of a matrix with so many rows of packed activations. `stride`: of the output's rows.
#[must_use]
pub fn product(
    matrix: &Matrix,
    x: Region,
    out: Region,
    bucket: u32,
    epilogue: Epilogue,
    stride: u32,
) -> Launch {
    let end = match epilogue {
        Epilogue::Store => "store",
        Epilogue::Add => "add",
        Epilogue::Silu => "silu",
    };
    let blocks = matrix.rows.div_ceil(128);
    let threads = if epilogue == Epilogue::Add { 256 } else { 128 };
    let (width, grid, block) = match bucket {
        0..=8 => ("narrow", [matrix.rows.div_ceil(16), 1, 1], 256),
        9..=16 => ("wide16", [8, 1, blocks], threads),
        17..=32 => ("wide32", [8, 1, blocks], threads),
        _ => ("wide64", [8, bucket.div_ceil(64), blocks], threads),
    };
    let kernel = format!("{width}_{}_{end}", matrix.precision.name());
    let arguments = vec![
        At(matrix.weights),
        matrix.scales.map_or(Null, At),
        At(x),
        At(out),
        Number(matrix.rows),
        Number(matrix.columns / 32),
        Number(bucket),
        Number(n_tiles(bucket)),
        Number(stride),
    ];
    launch(&kernel, grid, block, arguments)
}

/// The norm of the stream's rows.
#[must_use]
pub fn norm(layout: &Layout, weights: Region, bucket: u32) -> Launch {
    let arguments = vec![
        At(layout.work.stream),
        At(weights),
        At(layout.work.normed),
        Number(layout.shape.width),
        Number(n_tiles(bucket)),
        Float(layout.shape.epsilon),
    ];
    launch("rms_norm", [bucket, 1, 1], 512, arguments)
}

/// Turns queries and keys, and stores keys and values.
#[must_use]
pub fn turn_and_store(layout: &Layout, layer: &Layer, bucket: u32) -> Launch {
    let (shape, work) = (&layout.shape, &layout.work);
    // Scores are raised to the power of two, not of e.
    let head = f32::from(u16::try_from(shape.head).unwrap_or(u16::MAX));
    let scale = std::f32::consts::LOG2_E / head.sqrt();
    let arguments = vec![
        At(work.qkv),
        At(layout.angles),
        At(work.slots),
        At(work.positions),
        At(work.tables),
        At(work.queries),
        At(layer.pages),
        Number(shape.heads),
        Number(shape.kv_heads),
        Number(shape.head),
        Number(layout.table_width()),
        Float(scale),
    ];
    let heads = shape.heads + 2 * shape.kv_heads;
    launch(
        "turn_and_store",
        [bucket, heads, 1],
        shape.head / 2,
        arguments,
    )
}

/// Attention over the pages.
#[must_use]
pub fn attention(layout: &Layout, layer: &Layer, bucket: u32) -> Launch {
    let (shape, work) = (&layout.shape, &layout.work);
    let arguments = vec![
        At(work.queries),
        At(layer.pages),
        At(work.slots),
        At(work.positions),
        At(work.tables),
        At(work.parts),
        At(work.finished),
        At(work.attended),
        Number(shape.kv_heads),
        Number(layout.table_width()),
        Number(n_tiles(bucket)),
    ];
    let grid = [shape.kv_heads, layout.splits(), bucket];
    let block = SPLIT / PAGE * 32;
    launch(
        shape.attention().unwrap_or_default(),
        grid,
        block,
        arguments,
    )
}

/// Zeroes the pages that the input names.
#[must_use]
pub fn wipe(layout: &Layout, parity: usize) -> Launch {
    let [even, odd] = layout.work.inputs;
    let input = if parity == 0 { even } else { odd };
    let list = Region {
        offset: input.offset + WIPES_AT,
        bytes: 4 * u64::from(WIPES),
        ..input
    };
    let pages = layout.layers.first().map(|layer| layer.pages);
    let layer_bytes = match layout.layers.as_slice() {
        [first, second, ..] => second.pages.offset - first.pages.offset,
        _ => 0,
    };
    let all = pages.map(|first| Region {
        bytes: layer_bytes * u64::from(layout.shape.layers - 1) + first.bytes,
        ..first
    });
    let page = u64::from(layout.shape.kv_heads) * u64::from(layout.shape.head) * 4 * 32 / 16;
    let arguments = vec![
        At(list),
        all.map_or(Null, At),
        Number(layout.limits.pages),
        Number(u32::try_from(page).unwrap_or(0)),
        Long(layer_bytes / 16),
    ];
    launch("wipe", [WIPES, layout.shape.layers, 1], 256, arguments)
}

fn begin(layout: &Layout, bucket: u32, input: Region) -> Launch {
    let work = &layout.work;
    let arguments = vec![
        At(input),
        At(work.last),
        At(work.slot_positions),
        At(work.tables),
        At(work.shifts),
        At(work.slots),
        At(work.positions),
        At(work.tokens),
        Number(bucket),
        Number(layout.table_width()),
        Number(layout.limits.slots),
        Number(layout.limits.context),
        Number(layout.shape.vocabulary),
    ];
    launch("begin", [1, 1, 1], MAX_ROWS, arguments)
}

fn embed(layout: &Layout, bucket: u32) -> Launch {
    let arguments = vec![
        At(layout.work.tokens),
        At(layout.embedding),
        At(layout.work.stream),
        Number(layout.shape.width),
    ];
    launch("embed", [bucket, 1, 1], 256, arguments)
}

/// Chooses tokens from logits.
#[must_use]
pub fn sample(layout: &Layout, bucket: u32, input: Region, output: Region) -> Launch {
    let work = &layout.work;
    let arguments = vec![
        At(input),
        At(work.logits),
        At(work.positions),
        At(work.shifts),
        At(work.counts),
        At(work.last),
        At(output),
        Number(layout.shape.vocabulary),
    ];
    launch("sample", [bucket, 1, 1], 1024, arguments)
}

/// A step of so many rows. Even and odd steps differ in where input and output lie, so that the
/// next input can be on its way while a step runs.
#[must_use]
pub fn step(layout: &Layout, bucket: u32, parity: usize) -> Vec<Launch> {
    let (work, shape) = (&layout.work, &layout.shape);
    let pick = |[even, odd]: [Region; 2]| if parity == 0 { even } else { odd };
    let (input, output) = (pick(work.inputs), pick(work.outputs));
    let mut launches = vec![
        wipe(layout, parity),
        begin(layout, bucket, input),
        embed(layout, bucket),
    ];
    for layer in &layout.layers {
        let multiply =
            |matrix: &Matrix, x, out, end, stride| product(matrix, x, out, bucket, end, stride);
        launches.extend([
            norm(layout, layer.attention_norm, bucket),
            multiply(
                &layer.qkv,
                work.normed,
                work.qkv,
                Epilogue::Store,
                shape.qkv_width(),
            ),
            turn_and_store(layout, layer, bucket),
            attention(layout, layer, bucket),
            multiply(
                &layer.output,
                work.attended,
                work.stream,
                Epilogue::Add,
                shape.width,
            ),
            norm(layout, layer.inner_norm, bucket),
            multiply(&layer.gate_up, work.normed, work.inner, Epilogue::Silu, 0),
            multiply(
                &layer.down,
                work.inner,
                work.stream,
                Epilogue::Add,
                shape.width,
            ),
        ]);
    }
    launches.extend([
        norm(layout, layout.norm, bucket),
        product(
            &layout.head,
            work.normed,
            work.logits,
            bucket,
            Epilogue::Store,
            shape.vocabulary,
        ),
        sample(layout, bucket, input, output),
    ]);
    launches
}
