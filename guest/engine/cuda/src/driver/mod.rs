//! An NVIDIA GPU as a [`Device`]: two streams, one for steps and one for copies, so that a step's
//! input arrives and the last one's output leaves while a step runs.
//!
//! Parameters of kernels are bound here from arenas, so no kernel ever gets an address of the host.
//! Not here: unsafe code (`calls`), which kernels a step is made of (`plan`).

mod calls;

use std::collections::BTreeMap;

use crate::device::{Counters, Device, DeviceError, Graph};
use crate::layout::{Arena, Layout, Region};
use crate::plan::{Argument, Launch};
use calls::{Bound, Context, Event, Function, Memory, Module, Pinned, Recorded, Stream};

/// What is there after `reserve`.
#[derive(Debug)]
struct Reserved {
    weights: Memory,
    cache: Memory,
    work: Memory,
    inputs: [Pinned; 2],
    outputs: [Pinned; 2],
}

/// The GPU. Fields drop in this order: graphs before memory, the context last.
#[derive(Debug)]
pub struct Gpu {
    graphs: Vec<Recorded>,
    reserved: Option<Reserved>,
    sent: [Event; 2],
    ended: [Event; 2],
    fetched: [Event; 2],
    marks: [Event; 2],
    steps: Stream,
    copies: Stream,
    functions: BTreeMap<String, Function>,
    modules: Vec<Module>,
    counters: Counters,
    context: Context,
}

fn pick<T>(pair: &[T; 2], parity: usize) -> &T {
    let [even, odd] = pair;
    if parity == 0 { even } else { odd }
}

impl Gpu {
    /// Opens the first GPU and loads files of kernels (fatbins or cubins).
    ///
    /// # Errors
    /// `Absent` where there is no driver or device.
    pub fn open(images: &[Vec<u8>]) -> Result<Self, DeviceError> {
        let context = Context::open()?;
        let pair = || Ok::<_, DeviceError>([Event::new()?, Event::new()?]);
        let modules = images.iter().map(|image| Module::load(image));
        Ok(Self {
            graphs: Vec::new(),
            reserved: None,
            sent: pair()?,
            ended: pair()?,
            fetched: pair()?,
            marks: pair()?,
            steps: Stream::new()?,
            copies: Stream::new()?,
            functions: BTreeMap::new(),
            modules: modules.collect::<Result<_, _>>()?,
            counters: Counters::default(),
            context,
        })
    }

    /// The device's name.
    ///
    /// # Errors
    /// Those of the driver.
    pub fn name(&self) -> Result<String, DeviceError> {
        self.context.name()
    }

    /// The version of CUDA that the driver speaks.
    ///
    /// # Errors
    /// Those of the driver.
    pub fn driver_version(&self) -> Result<u32, DeviceError> {
        calls::driver_version()
    }

    fn reserved(&self) -> Result<&Reserved, DeviceError> {
        self.reserved.as_ref().ok_or(DeviceError::Order)
    }

    fn memory(&self, arena: Arena) -> Result<&Memory, DeviceError> {
        let reserved = self.reserved()?;
        Ok(match arena {
            Arena::Weights => &reserved.weights,
            Arena::Cache => &reserved.cache,
            Arena::Work => &reserved.work,
        })
    }

    fn address(&self, region: &Region) -> Result<u64, DeviceError> {
        let bytes = usize::try_from(region.bytes).map_err(|_| DeviceError::Bounds)?;
        self.memory(region.arena)?.at(region.offset, bytes)
    }

    fn function(&mut self, name: &str) -> Result<Function, DeviceError> {
        if let Some(function) = self.functions.get(name) {
            return Ok(*function);
        }
        let mut modules = self.modules.iter();
        let found = modules.find_map(|module| module.function(name));
        let function = found.ok_or_else(|| DeviceError::Kernel {
            kernel: name.to_owned(),
        })?;
        self.functions.insert(name.to_owned(), function);
        Ok(function)
    }

    fn bind(&mut self, launch: &Launch) -> Result<Bound, DeviceError> {
        let function = self.function(&launch.kernel)?;
        let arguments = launch.arguments.iter().map(|argument| {
            Ok(match argument {
                Argument::At(region) => self.address(region)?,
                Argument::Null => 0,
                Argument::Number(number) => u64::from(*number),
                Argument::Long(number) => *number,
                Argument::Float(number) => u64::from(number.to_bits()),
            })
        });
        Ok(Bound {
            function,
            grid: launch.grid,
            block: launch.block,
            arguments: arguments.collect::<Result<_, DeviceError>>()?,
        })
    }

    fn bind_all(&mut self, launches: &[Launch]) -> Result<Vec<Bound>, DeviceError> {
        launches.iter().map(|launch| self.bind(launch)).collect()
    }

    fn count(&mut self, bytes: u64) {
        self.counters.crossings = self.counters.crossings.saturating_add(1);
        self.counters.bytes = self.counters.bytes.saturating_add(bytes);
    }

    fn count_launches(&mut self, launches: usize) {
        let launches = u64::try_from(launches).unwrap_or(u64::MAX);
        self.counters.launches = self.counters.launches.saturating_add(launches);
    }
}

impl Device for Gpu {
    fn room(&mut self) -> Result<u64, DeviceError> {
        self.context.free()
    }

    fn reserve(&mut self, layout: &Layout, input: u64, output: u64) -> Result<(), DeviceError> {
        if self.reserved.is_some() {
            return Err(DeviceError::Order);
        }
        let length = |bytes: u64| usize::try_from(bytes).map_err(|_| DeviceError::Bounds);
        let [weights, cache, work] = layout.sizes;
        let (input, output) = (length(input)?, length(output)?);
        self.reserved = Some(Reserved {
            weights: Memory::allocate(length(weights)?)?,
            cache: Memory::allocate(length(cache)?)?,
            work: Memory::allocate(length(work)?)?,
            inputs: [Pinned::allocate(input)?, Pinned::allocate(input)?],
            outputs: [Pinned::allocate(output)?, Pinned::allocate(output)?],
        });
        self.counters.allocations = self.counters.allocations.saturating_add(7);
        Ok(())
    }

    fn write(&mut self, to: Region, bytes: &[u8]) -> Result<(), DeviceError> {
        self.count(bytes.len() as u64);
        self.memory(to.arena)?.write(to.offset, bytes)
    }

    fn read(&mut self, from: Region, bytes: &mut [u8]) -> Result<(), DeviceError> {
        self.count(bytes.len() as u64);
        self.memory(from.arena)?.read(from.offset, bytes)
    }

    fn run(&mut self, launches: &[Launch]) -> Result<(), DeviceError> {
        for bound in self.bind_all(launches)? {
            self.steps.launch(&bound, false)?;
        }
        self.count_launches(launches.len());
        self.steps.wait()
    }

    fn record(&mut self, launches: &[Launch]) -> Result<Graph, DeviceError> {
        let bound = self.bind_all(launches)?;
        self.steps.begin_capture()?;
        // The first kernel has none of its own graph in front of it.
        let mut launched = bound.iter().enumerate();
        let launched = launched.try_for_each(|(at, bound)| self.steps.launch(bound, at > 0));
        // Ended even when a launch failed: the stream must leave its capture.
        let recorded = self.steps.end_capture();
        launched?;
        self.graphs.push(recorded?);
        Ok(Graph(self.graphs.len().saturating_sub(1)))
    }

    fn send(&mut self, parity: usize, to: Region, input: &[u8]) -> Result<(), DeviceError> {
        self.count(to.bytes);
        let at = self.address(&to)?;
        let reserved = self.reserved.as_mut().ok_or(DeviceError::Order)?;
        let [even, odd] = &mut reserved.inputs;
        let staging = if parity == 0 { even } else { odd };
        if to.bytes != input.len() as u64 {
            return Err(DeviceError::Bounds);
        }
        staging.fill(input)?;
        self.copies.copy_in(at, staging)?;
        let sent = pick(&self.sent, parity);
        self.copies.record(sent)?;
        self.steps.after(sent)
    }

    fn replay(&mut self, parity: usize, graph: Graph) -> Result<(), DeviceError> {
        let graph = self.graphs.get(graph.0).ok_or(DeviceError::Order)?;
        self.steps.replay(graph)?;
        self.steps.record(pick(&self.ended, parity))?;
        self.count_launches(1);
        Ok(())
    }

    fn fetch(&mut self, parity: usize, from: Region) -> Result<(), DeviceError> {
        self.count(from.bytes);
        let at = self.address(&from)?;
        self.copies.after(pick(&self.ended, parity))?;
        self.copies
            .copy_out(pick(&self.reserved()?.outputs, parity), at)?;
        self.copies.record(pick(&self.fetched, parity))
    }

    fn wait(&mut self, parity: usize, output: &mut [u8]) -> Result<(), DeviceError> {
        pick(&self.fetched, parity).wait()?;
        pick(&self.reserved()?.outputs, parity).take(output)
    }

    fn time(&mut self, launches: &[Launch], times: u32) -> Result<Option<f64>, DeviceError> {
        let graph = self.record(launches)?;
        let graph = self.graphs.get(graph.0).ok_or(DeviceError::Order)?;
        let [first, second] = &self.marks;
        self.steps.replay(graph)?;
        self.steps.record(first)?;
        for _ in 0..times {
            self.steps.replay(graph)?;
        }
        self.steps.record(second)?;
        second.wait()?;
        Ok(Some(second.since(first)? / f64::from(times.max(1))))
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        // Nothing is freed under a copy or a kernel that still runs.
        let _steps = self.steps.wait();
        let _copies = self.copies.wait();
    }
}
