//! A model from its files into a GPU's memory, layer by layer: no more than one layer, the
//! embedding and the head are ever in the host's.
//!
//! Weights of every kind of file are taken as floats and rounded to 16 bits: those of bf16 exactly,
//! of f16 with three bits less, of blocks as they are after their scales. What is deliberately not
//! here: in which order they lie (`engine_cuda::weights`).

use engine::{Language, LayerWeights, ModelError, Opened, Plain, Rows, Sink};
use engine_cuda::decoder::Decoder;
use engine_cuda::device::{Device, DeviceError};
use engine_cuda::layout::{Layer, Layout};
use engine_cuda::shape::{Limits, PAGE, Precision, SPLIT, Shape, Unsupported};
use engine_cuda::weights::{write_floats, write_matrix, write_rows};

use crate::RunError;
use crate::backend::GpuBackend;

/// Answers at once: as many as the scheduler lets in.
const SLOTS: u32 = 32;
/// Longest context: the parts of attention are set aside for it, in all rows of a step.
const MOST_CONTEXT: u32 = 8192;
/// Of the memory that nobody has before the arenas are made, what stays so: one part in so many,
/// for recorded graphs and what the driver sets aside for them.
const LEFT_SHARE: u64 = 16;
/// And not less.
const LEAST_LEFT: u64 = 1 << 30;
/// Pages of the cache at most, in those that answers alone can come to need: the scheduler keeps
/// as much of ended answers as it gives to running ones.
const MOST_SHARES: u32 = 2;

/// Puts a model on a device.
///
/// # Errors
/// A [`RunError`].
pub fn onto<D: Device>(
    opened: Opened,
    device: impl FnOnce() -> Result<D, DeviceError>,
) -> Result<(Language, GpuBackend<D>), RunError> {
    let plain = opened.plain()?;
    // What is not computed is refused before a device is looked for.
    let (shape, limits) = wanted(&plain)?;
    let mut device = device()?;
    let layout = within(shape, limits, device.room()?)?;
    let mut decoder = Decoder::without_angles(device, layout)?;
    let mut arena = WeightArena {
        decoder: &mut decoder,
        failed: None,
    };
    let poured = opened.pour(&mut arena);
    if let Some(failed) = arena.failed {
        return Err(failed.into());
    }
    let language = poured?.within(usize::try_from(MOST_CONTEXT).unwrap_or(usize::MAX));
    Ok((language, GpuBackend::new(decoder)))
}

/// The shape of a model, and what its answers may come to need.
fn wanted(plain: &Plain) -> Result<(Shape, Limits), Unsupported> {
    let number = |value: usize, what| u32::try_from(value).map_err(|_| Unsupported { what });
    let shape = Shape {
        layers: number(plain.layers, "number of layers")?,
        width: number(plain.width, "width")?,
        inner: number(plain.inner, "inner width")?,
        heads: number(plain.heads, "number of heads")?,
        kv_heads: number(plain.kv_heads, "number of heads")?,
        head: number(plain.head, "pair of head width and group")?,
        vocabulary: number(plain.vocabulary, "vocabulary")?,
        // Angles come from the file.
        rope_base: 0.0,
        epsilon: plain.epsilon,
    };
    let context = number(plain.context, "context")?;
    let context = context.clamp(1, MOST_CONTEXT).next_multiple_of(SPLIT);
    let of_slots = SLOTS.saturating_mul(context.div_ceil(PAGE));
    let limits = Limits {
        slots: SLOTS,
        context,
        pages: of_slots.saturating_mul(MOST_SHARES),
    };
    shape.check(&limits)?;
    Ok((shape, limits))
}

/// Where everything of a model lies on a device with so many bytes that nobody has, with as many
/// pages as there is memory for and answers could use.
///
/// # Errors
/// `Shape` when there are no kernels for it; `Device` with `Room` when not even one answer of the
/// longest context has room.
pub fn layout(plain: &Plain, room: u64) -> Result<Layout, RunError> {
    let (shape, limits) = wanted(plain)?;
    within(shape, limits, room)
}

fn within(shape: Shape, mut limits: Limits, room: u64) -> Result<Layout, RunError> {
    let most = limits.pages;
    limits.pages = limits.context.div_ceil(PAGE);
    let least = Layout::new(shape, limits, Precision::Bf16)?;
    let left = room.checked_div(LEFT_SHARE).unwrap_or(0).max(LEAST_LEFT);
    let room = room.saturating_sub(left);
    let taken = least.sizes.iter().copied().fold(0, u64::saturating_add);
    let further = room.checked_sub(taken).ok_or(DeviceError::Room)?;
    let page = least.bytes_of_a_position().saturating_mul(u64::from(PAGE));
    let further = further.checked_div(page).unwrap_or(0);
    let further = u32::try_from(further).unwrap_or(u32::MAX);
    limits.pages = limits.pages.saturating_add(further).min(most);
    Ok(Layout::new(shape, limits, Precision::Bf16)?)
}

struct WeightArena<'d, D> {
    decoder: &'d mut Decoder<D>,
    failed: Option<DeviceError>,
}

impl<D: Device> WeightArena<'_, D> {
    fn take(&mut self, written: Result<(), DeviceError>) -> Result<(), ModelError> {
        written.map_err(|failed| {
            self.failed = Some(failed);
            ModelError::Sink
        })
    }
}

impl<D: Device> Sink for WeightArena<'_, D> {
    fn layer(&mut self, number: usize, weights: &LayerWeights<'_>) -> Result<(), ModelError> {
        let written = write_layer(self.decoder, number, weights);
        self.take(written)
    }

    fn rest(
        &mut self,
        embedding: Rows<'_>,
        norm: &[f32],
        head: Rows<'_>,
        frequencies: &[f64],
    ) -> Result<(), ModelError> {
        let written = write_rest(self.decoder, (embedding, head), norm, frequencies);
        self.take(written)
    }
}

#[allow(
    clippy::arithmetic_side_effects,
    reason = "rows of matrices of a checked shape"
)]
fn write_layer<D: Device>(
    decoder: &mut Decoder<D>,
    number: usize,
    weights: &LayerWeights<'_>,
) -> Result<(), DeviceError> {
    let shape = decoder.layout().shape;
    let layer: Layer = *decoder
        .layout()
        .layers
        .get(number)
        .ok_or(DeviceError::Bounds)?;
    let device = decoder.device();
    write_floats(device, layer.attention_norm, weights.attention_norm)?;
    let query = shape.query_width() as usize;
    let key = (shape.kv_heads * shape.head) as usize;
    write_matrix(device, &layer.qkv, |row, out| {
        if row < query {
            weights.query.read(row, out)
        } else if row < query + key {
            weights.key.read(row - query, out)
        } else {
            weights.value.read(row - query - key, out)
        }
    })?;
    write_matrix(device, &layer.output, |row, out| {
        weights.output.read(row, out)
    })?;
    write_floats(device, layer.inner_norm, weights.inner_norm)?;
    write_matrix(device, &layer.gate_up, |row, out| {
        // Of each sixteen rows, eight of the one and eight of the other.
        let (tile, within) = (row / 16, row % 16);
        let from = tile * 8 + within % 8;
        match within {
            0..8 => weights.gate.read(from, out),
            _ => weights.up.read(from, out),
        }
    })?;
    write_matrix(device, &layer.down, |row, out| weights.down.read(row, out))
}

fn write_rest<D: Device>(
    decoder: &mut Decoder<D>,
    (embedding, head): (Rows<'_>, Rows<'_>),
    norm: &[f32],
    frequencies: &[f64],
) -> Result<(), DeviceError> {
    let layout = decoder.layout();
    let (shape, to) = (layout.shape, (layout.embedding, layout.norm, layout.head));
    let size = (shape.vocabulary as usize, shape.width as usize);
    let device = decoder.device();
    write_rows(device, to.0, size, |row, out| embedding.read(row, out))?;
    write_floats(device, to.1, norm)?;
    write_matrix(device, &to.2, |row, out| head.read(row, out))?;
    decoder.write_angles(frequencies)
}
