//! The loop of steps: a step is one copy in, one graph, one copy out; the next is launched before
//! the last one's output is read. Not here: which answers get which rows.

use std::collections::VecDeque;

use crate::device::{Counters, Device, DeviceError, Graph};
use crate::layout::{Layout, Region};
use crate::plan;
use crate::shape::{BUCKETS, bucket_of};
use crate::step::{self, Chosen, Row, Shifts};

/// What a launch does on the bus, whatever is in the step.
pub const LAUNCHED: Counters = Counters {
    crossings: 1,
    bytes: step::INPUT_BYTES,
    allocations: 0,
    launches: 1,
};

/// And what its collection does.
pub const COLLECTED: Counters = Counters {
    crossings: 1,
    bytes: step::OUTPUT_BYTES,
    allocations: 0,
    launches: 0,
};

/// Both.
pub const STEP: Counters = Counters {
    crossings: LAUNCHED.crossings + COLLECTED.crossings,
    bytes: LAUNCHED.bytes + COLLECTED.bytes,
    allocations: 0,
    launches: LAUNCHED.launches,
};

/// Steps that may be in flight.
pub const DEPTH: usize = 2;

/// A model on a device, ready for steps.
#[derive(Debug)]
pub struct Decoder<D> {
    device: D,
    layout: Layout,
    graphs: Vec<[Graph; 2]>,
    flying: VecDeque<(usize, usize)>,
    parity: usize,
    output: Vec<u8>,
}

impl<D: Device> Decoder<D> {
    /// Makes the arenas, writes the angles of the shape, records a graph for each bucket. Weights
    /// are still zero.
    ///
    /// # Errors
    /// A [`DeviceError`].
    pub fn new(device: D, layout: Layout) -> Result<Self, DeviceError> {
        let frequencies = frequencies(&layout);
        let mut decoder = Self::without_angles(device, layout)?;
        decoder.write_angles(&frequencies)?;
        Ok(decoder)
    }

    /// The same without angles: [`Self::write_angles`] comes before the first step.
    ///
    /// # Errors
    /// A [`DeviceError`].
    pub fn without_angles(mut device: D, layout: Layout) -> Result<Self, DeviceError> {
        device.reserve(&layout, step::INPUT_BYTES, step::OUTPUT_BYTES)?;
        let mut graphs = Vec::new();
        for bucket in BUCKETS {
            let mut record = |parity| device.record(&plan::step(&layout, bucket, parity));
            graphs.push([record(0)?, record(1)?]);
        }
        let output = usize::try_from(step::OUTPUT_BYTES).map_err(|_| DeviceError::Bounds)?;
        Ok(Self {
            device,
            layout,
            graphs,
            flying: VecDeque::with_capacity(DEPTH),
            parity: 0,
            output: vec![0; output],
        })
    }

    /// Writes cosine and sine of each position, from the angle per position of each pair.
    ///
    /// # Errors
    /// `Bounds` when there are not as many as a head has pairs; those of the device.
    pub fn write_angles(&mut self, frequencies: &[f64]) -> Result<(), DeviceError> {
        let pairs = u64::from(self.layout.shape.head / 2);
        if frequencies.len() as u64 != pairs {
            return Err(DeviceError::Bounds);
        }
        let angles = angles(&self.layout, frequencies);
        self.device.write(self.layout.angles, &angles)
    }

    /// The device, for what is done at the start.
    pub fn device(&mut self) -> &mut D {
        &mut self.device
    }

    /// Where everything lies.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.device.counters()
    }

    /// Sends a step on its way, with pages to wipe before it and shifts of one slot from it on. At
    /// most two are in flight: the caller collects the older one first.
    ///
    /// # Errors
    /// `Order` with two in flight, `Bounds` for more rows than the largest bucket.
    pub fn launch(
        &mut self,
        rows: &[Row],
        wipes: &[u32],
        shifts: Option<Shifts<'_>>,
    ) -> Result<(), DeviceError> {
        if self.flying.len() >= DEPTH {
            return Err(DeviceError::Order);
        }
        let count = u32::try_from(rows.len()).map_err(|_| DeviceError::Bounds)?;
        let bucket = bucket_of(count.max(1)).ok_or(DeviceError::Bounds)?;
        let at = BUCKETS.iter().position(|found| *found == bucket);
        let graphs = at.and_then(|at| self.graphs.get(at));
        let [even, odd] = *graphs.ok_or(DeviceError::Bounds)?;
        let parity = self.parity;
        let input = step::encode(rows, wipes, shifts);
        self.device
            .send(parity, of(self.layout.work.inputs, parity), &input)?;
        self.device
            .replay(parity, if parity == 0 { even } else { odd })?;
        self.flying.push_back((parity, rows.len()));
        self.parity ^= 1;
        Ok(())
    }

    /// The oldest step's output, one entry for each of its rows.
    ///
    /// # Errors
    /// `Order` with none in flight.
    pub fn collect(&mut self) -> Result<Vec<Chosen>, DeviceError> {
        let (parity, rows) = self.flying.pop_front().ok_or(DeviceError::Order)?;
        self.device
            .fetch(parity, of(self.layout.work.outputs, parity))?;
        self.device.wait(parity, &mut self.output)?;
        let mut chosen = step::decode(&self.output);
        chosen.truncate(rows);
        Ok(chosen)
    }
}

fn of([even, odd]: [Region; 2], parity: usize) -> Region {
    if parity == 0 { even } else { odd }
}

/// The angle per position of each pair, of a base alone.
#[allow(clippy::arithmetic_side_effects, reason = "float arithmetic")]
fn frequencies(layout: &Layout) -> Vec<f64> {
    let shape = &layout.shape;
    (0..shape.head / 2)
        .map(|pair| f64::from(shape.rope_base).powf(-2.0 * f64::from(pair) / f64::from(shape.head)))
        .collect()
}

/// Cosine and sine of each position and pair, computed in 64 bits.
#[allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "float arithmetic; the cosine and sine are rounded to f32"
)]
fn angles(layout: &Layout, frequencies: &[f64]) -> Vec<u8> {
    (0..layout.limits.context)
        .flat_map(|position| frequencies.iter().map(move |f| f64::from(position) * f))
        .flat_map(|angle| [angle.cos() as f32, angle.sin() as f32])
        .flat_map(f32::to_le_bytes)
        .collect()
}
