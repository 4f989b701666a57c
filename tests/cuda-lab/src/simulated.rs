//! A device that computes steps, on the CPU: with the weights, angles and tables that lie in its
//! arenas, in the layout of the kernels, by the arithmetic of `reference`. So what fills the
//! arenas, and what says which row is whose, can be tested to the token without a GPU.
//!
//! It does not run kernels: a launch is looked at only for what the step is. Keys and values lie
//! beside the arenas, page by page, so that one that nobody wrote, or that was wiped, is missed.
//! Not here: speed.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    reason = "a test's device: a place outside of its arena is a failure"
)]

use std::collections::HashMap;

use engine_cuda::device::{Counters, Device, DeviceError, Graph};
use engine_cuda::layout::{Arena, Layout, Matrix, Region};
use engine_cuda::plan::Launch;
use engine_cuda::shape::PAGE;
use engine_cuda::step::{
    Choice, INPUT_BYTES, NONE, OUTPUT_BYTES, SHIFTS_AT, SHIFTS_BYTES, WIPES_AT,
};

use crate::reference::{Cache, Model, sample, shift};
use crate::seeded::{Filling, tensors};

/// Keys and values of one position of all layers.
type Position = Vec<(Vec<f32>, Vec<f32>)>;

/// The device.
#[derive(Debug)]
pub struct Simulated {
    layout: Option<Layout>,
    room: u64,
    arenas: [Vec<u8>; 3],
    rows: Vec<u32>,
    model: Option<Model>,
    kept: HashMap<(u32, u32), Position>,
    outputs: [Vec<u8>; 2],
    counters: Counters,
    extra_at: Option<u64>,
}

impl Simulated {
    /// A device with so many bytes that nobody has.
    #[must_use]
    pub fn with_room_of(bytes: u64) -> Self {
        Self {
            layout: None,
            room: bytes,
            arenas: [Vec::new(), Vec::new(), Vec::new()],
            rows: Vec::new(),
            model: None,
            kept: HashMap::new(),
            outputs: [Vec::new(), Vec::new()],
            counters: Counters::default(),
            extra_at: None,
        }
    }

    /// One that crosses once more than it must, at the launch of this number.
    #[must_use]
    pub fn crossing_once_more_at(mut self, launch: u64) -> Self {
        self.extra_at = Some(launch);
        self
    }

    /// Positions whose keys and values it holds.
    #[must_use]
    pub fn positions(&self) -> usize {
        self.kept.len()
    }

    fn layout(&self) -> &Layout {
        self.layout.as_ref().expect("arenas are made first")
    }

    fn place(&self, region: Region) -> (usize, std::ops::Range<usize>) {
        let arena = match region.arena {
            Arena::Weights => 0,
            Arena::Cache => 1,
            Arena::Work => 2,
        };
        let start = region.offset as usize;
        (arena, start..start + region.bytes as usize)
    }

    fn bytes(&self, region: Region) -> &[u8] {
        let (arena, place) = self.place(region);
        &self.arenas[arena][place]
    }

    fn word(&self, region: Region, at: u32) -> u32 {
        let at = at as usize * 4;
        let four = self.bytes(region)[at..at + 4].first_chunk();
        four.map_or(0, |four| u32::from_le_bytes(*four))
    }

    fn set_word(&mut self, region: Region, at: u32, value: u32) {
        let (arena, place) = self.place(region);
        let at = place.start + at as usize * 4;
        self.arenas[arena][at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    fn cross(&mut self, bytes: u64) {
        self.counters.crossings += 1;
        self.counters.bytes += bytes;
    }

    /// The model that lies in the arena of weights.
    fn read_model(&self) -> Model {
        let tensors = tensors(self.layout(), 0);
        let values = tensors.iter().map(|tensor| match tensor.filling {
            Filling::Matrix(matrix) => unpacked(&matrix, self.bytes(matrix.weights)),
            Filling::Rows(region) => self.bytes(region).as_chunks().0.iter().map(wide).collect(),
            Filling::Floats(region) => floats(self.bytes(region)),
        });
        Model::of(self.layout(), values)
    }

    /// A row as `begin` takes it: its slot, position and token; none for one that computes nothing.
    fn begin(&mut self, input: Region, row: u32) -> Option<(u32, u32, u32)> {
        let word = |at| self.word(input, row * 11 + at);
        let [flags, slot, token, position] = [0, 1, 2, 3].map(word);
        let (index, page) = (word(4), word(5));
        let work = self.layout().work;
        let width = self.layout().table_width();
        if flags & 1 == 0 || slot >= self.layout().limits.slots {
            return None;
        }
        let (token, position) = match flags & 2 {
            0 => (
                self.word(work.last, slot),
                self.word(work.slot_positions, slot) + 1,
            ),
            _ => (token, position),
        };
        if index < width {
            self.set_word(work.tables, slot * width + index, page);
        }
        if flags & 4 != 0 {
            self.set_word(work.slot_positions, slot, position);
        }
        (position < self.layout().limits.context).then_some((slot, position, token))
    }

    fn compute(&mut self, model: &Model, slot: u32, position: u32, token: u32) -> Vec<f32> {
        let width = self.layout().table_width();
        let tables = self.layout().work.tables;
        let place = |position: u32| {
            let page = self.word(tables, slot * width + position / PAGE);
            (page, position % PAGE)
        };
        let mut cache = Cache::default();
        for before in 0..position {
            let kept = self.kept.get(&place(before)).cloned();
            // Not a number where nobody wrote: the answer is then broken, as it must be.
            let kv = (self.layout().shape.kv_heads * self.layout().shape.head) as usize;
            let missing = (vec![f32::NAN; kv], vec![f32::NAN; kv]);
            let kept = kept.unwrap_or_else(|| vec![missing; self.layout().layers.len()]);
            cache.0.resize_with(kept.len(), Default::default);
            for ((keys, values), (key, value)) in cache.0.iter_mut().zip(kept) {
                keys.extend(key);
                values.extend(value);
            }
        }
        let pairs = self.layout().shape.head;
        let angles = floats(self.bytes(self.layout().angles));
        let (angles, _) = angles[(position * pairs) as usize..][..pairs as usize].as_chunks();
        let logits = model.logits_by(&mut cache, token, angles);
        let at = place(position);
        let kv = (self.layout().shape.kv_heads * self.layout().shape.head) as usize;
        let last = |all: Vec<f32>| all[all.len() - kv..].to_vec();
        let new = cache.0.into_iter();
        let new = new.map(|(keys, values)| (last(keys), last(values)));
        self.kept.insert(at, new.collect());
        logits
    }

    /// The shifts that a step tells, to where they are kept.
    fn take_shifts(&mut self, input: Region) {
        let words = (SHIFTS_BYTES / 4) as u32;
        let word = |at| self.word(input, (SHIFTS_AT / 4) as u32 + at);
        let told: Vec<u32> = (0..words).map(word).collect();
        if told[0] < self.layout().limits.slots {
            let to = self.layout().work.shifts;
            for (at, word) in (0..).zip(&told) {
                self.set_word(to, told[0] * words + at, *word);
            }
        }
    }

    /// The token that an answer's logits give, which it then has once more.
    fn choose(&mut self, logits: &mut [f32], choice: Choice, slot: u32) -> u32 {
        let work = self.layout().work;
        let words = (SHIFTS_BYTES / 4) as u32;
        let word = |at| self.word(work.shifts, slot * words + at);
        let count = if choice.shifted { word(1) } else { 0 };
        let shifts: Vec<_> = (0..count)
            .map(|at| (word(2 + 2 * at), word(3 + 2 * at).cast_signed()))
            .collect();
        let (arena, place) = self.place(work.counts);
        let start = place.start + slot as usize * logits.len() * 2;
        let (counts, _) = self.arenas[arena][start..][..logits.len() * 2].as_chunks_mut();
        if choice.is_penalised() && choice.first {
            counts.fill([0; 2]);
        }
        let times: Vec<u16> = counts.iter().map(|two| u16::from_le_bytes(*two)).collect();
        shift(logits, choice, &shifts, &times);
        let token = sample(logits, choice);
        if choice.is_penalised() {
            counts[token as usize] = (times[token as usize] + 1).to_le_bytes();
        }
        token
    }

    fn step(&mut self, rows: u32, input: Region) -> Vec<u8> {
        for at in 0..engine_cuda::step::WIPES {
            let page = self.word(input, (WIPES_AT / 4) as u32 + at);
            self.kept.retain(|(held, _), _| *held != page);
        }
        self.take_shifts(input);
        // All of `begin` comes before any row is computed.
        let begun: Vec<_> = (0..rows).map(|row| self.begin(input, row)).collect();
        let model = self.model.take().unwrap_or_else(|| self.read_model());
        let mut output = vec![0xff; OUTPUT_BYTES as usize];
        for (row, begun) in (0_u32..).zip(begun) {
            let word = |at: u32| self.word(input, row * 11 + at);
            let asks = word(0) & 4 != 0;
            let choice = Choice::of([0, 6, 7, 8, 9, 10].map(word));
            let mut result = [NONE, 0];
            if let Some((slot, position, token)) = begun {
                let mut logits = self.compute(&model, slot, position, token);
                if asks {
                    let strange = !logits.iter().all(|logit| logit.is_finite());
                    let token = self.choose(&mut logits, choice, slot);
                    result = [token, u32::from(strange)];
                    self.set_word(self.layout().work.last, slot, token);
                }
            }
            let bytes = result.map(u32::to_le_bytes);
            output[row as usize * 8..][..8].copy_from_slice(bytes.as_flattened());
        }
        self.model = Some(model);
        output
    }
}

fn wide(bytes: &[u8; 2]) -> f32 {
    f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16)
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let (floats, _) = bytes.as_chunks();
    floats
        .iter()
        .map(|four| f32::from_le_bytes(*four))
        .collect()
}

/// A packed 16-bit matrix row by row, by the places that `kernels/seeded.cu` states.
fn unpacked(matrix: &Matrix, bytes: &[u8]) -> Vec<f32> {
    let (rows, columns) = (matrix.rows as usize, matrix.columns as usize);
    let (numbers, _) = bytes.as_chunks::<2>();
    let mut out = vec![0.0; rows * columns];
    for (i, number) in numbers.iter().enumerate() {
        let (e, lane, half, block) = (i % 8, i / 8 % 32, i / 256 % 2, i / 512);
        let (tile, chunk) = (block / (columns / 32), block % (columns / 32));
        let row = tile * 16 + half * 8 + lane / 4;
        let column = chunk * 32 + lane % 4 * 8 + e;
        if row < rows {
            out[row * columns + column] = wide(number);
        }
    }
    out
}

impl Device for Simulated {
    fn room(&mut self) -> Result<u64, DeviceError> {
        Ok(self.room)
    }

    fn reserve(&mut self, layout: &Layout, input: u64, output: u64) -> Result<(), DeviceError> {
        let taken: u64 = layout.sizes.iter().sum();
        if (input, output) != (INPUT_BYTES, OUTPUT_BYTES) || taken > self.room {
            return Err(DeviceError::Bounds);
        }
        self.arenas = layout.sizes.map(|size| vec![0; size as usize]);
        self.layout = Some(layout.clone());
        self.counters.allocations += 7;
        Ok(())
    }

    fn write(&mut self, to: Region, bytes: &[u8]) -> Result<(), DeviceError> {
        self.cross(bytes.len() as u64);
        let (arena, place) = self.place(to);
        self.arenas[arena][place].copy_from_slice(bytes);
        self.model = None;
        Ok(())
    }

    fn read(&mut self, from: Region, bytes: &mut [u8]) -> Result<(), DeviceError> {
        self.cross(bytes.len() as u64);
        bytes.copy_from_slice(self.bytes(from));
        Ok(())
    }

    fn run(&mut self, _: &[Launch]) -> Result<(), DeviceError> {
        Err(DeviceError::Order)
    }

    fn record(&mut self, launches: &[Launch]) -> Result<Graph, DeviceError> {
        let embeds = launches.iter().find(|launch| launch.kernel == "embed");
        let [rows, ..] = embeds.ok_or(DeviceError::Order)?.grid;
        self.rows.push(rows);
        Ok(Graph(self.rows.len() - 1))
    }

    fn send(&mut self, _: usize, to: Region, input: &[u8]) -> Result<(), DeviceError> {
        self.cross(input.len() as u64);
        let (arena, place) = self.place(to);
        self.arenas[arena][place].copy_from_slice(input);
        Ok(())
    }

    fn replay(&mut self, parity: usize, graph: Graph) -> Result<(), DeviceError> {
        self.counters.launches += 1;
        if self.extra_at == Some(self.counters.launches) {
            self.cross(1);
        }
        let rows = *self.rows.get(graph.0).ok_or(DeviceError::Order)?;
        let input = self.layout().work.inputs[parity];
        self.outputs[parity] = self.step(rows, input);
        Ok(())
    }

    fn fetch(&mut self, _: usize, from: Region) -> Result<(), DeviceError> {
        self.cross(from.bytes);
        Ok(())
    }

    fn wait(&mut self, parity: usize, output: &mut [u8]) -> Result<(), DeviceError> {
        output.copy_from_slice(&self.outputs[parity]);
        Ok(())
    }

    fn time(&mut self, _: &[Launch], _: u32) -> Result<Option<f64>, DeviceError> {
        Ok(None)
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}
