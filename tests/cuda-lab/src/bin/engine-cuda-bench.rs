//! Speed of decoding with seeded weights of the shape of Llama 3.1 8B: see `USAGE`. One line of
//! JSON or of text for each batch. Not part of the image: it opens files of kernels by name.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use cuda_lab::mock::Mock;
use cuda_lab::seeded::{self, filling, tensors};
use cuda_lab::toll::{Toll, Tolled};
use engine_cuda::decoder::Decoder;
use engine_cuda::device::{Counters, Device, DeviceError};
use engine_cuda::driver::Gpu;
use engine_cuda::layout::{Arena, Layout, Region};
use engine_cuda::plan::{self, Argument, Launch};
use engine_cuda::shape::{Limits, PAGE, Precision, Shape, Unsupported, bucket_of};
use engine_cuda::step::{Choice, Row, Source};

const USAGE: &str = "usage: engine-cuda-bench (--kernels DIR | --mock MICROSECONDS) [--fp8]
  [--batch N]... [--context N] [--steps N] [--layers N] [--toll] [--parts] [--json]
Decodes with seeded weights, each answer at position N of its context, greedily.
--kernels  the directory that image/build-kernels prints: runs on the first GPU
--mock     no GPU: a device that counts, whose steps take so long
--toll     lays the published costs of confidential mode on each crossing and allocation
--parts    also how long each kind of kernel takes, on a GPU";

/// A file of kernels is at most so long.
const MOST_KERNELS: u64 = 64 << 20;

#[derive(Default)]
struct Arguments {
    kernels: Option<PathBuf>,
    mock: Option<u64>,
    fp8: bool,
    batches: Vec<u32>,
    context: Option<u32>,
    steps: Option<u32>,
    layers: Option<u32>,
    toll: bool,
    parts: bool,
    json: bool,
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Arguments> {
    let mut parsed = Arguments::default();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--kernels" => parsed.kernels = Some(arguments.next()?.into()),
            "--mock" => parsed.mock = Some(arguments.next()?.parse().ok()?),
            "--fp8" => parsed.fp8 = true,
            "--batch" => parsed.batches.push(arguments.next()?.parse().ok()?),
            "--context" => parsed.context = Some(arguments.next()?.parse().ok()?),
            "--steps" => parsed.steps = Some(arguments.next()?.parse().ok()?),
            "--layers" => parsed.layers = Some(arguments.next()?.parse().ok()?),
            "--toll" => parsed.toll = true,
            "--parts" => parsed.parts = true,
            "--json" => parsed.json = true,
            _ => return None,
        }
    }
    Some(parsed)
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let _written = writeln!(std::io::stderr(), "{message}");
            ExitCode::FAILURE
        }
    }
}

fn print(line: &str) -> Result<(), String> {
    writeln!(std::io::stdout(), "{line}").map_err(|error| error.to_string())
}

fn text(error: DeviceError) -> String {
    error.to_string()
}

fn read_kernels(folder: &Path) -> Result<Vec<Vec<u8>>, String> {
    let names = ["product", "attention", "rows", "seeded"];
    let read = |name: &str| -> std::io::Result<Vec<u8>> {
        let file = std::fs::File::open(folder.join(format!("{name}.fatbin")))?;
        let mut bytes = Vec::new();
        file.take(MOST_KERNELS).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let files = names.iter().map(|name| read(name));
    files
        .collect::<Result<_, _>>()
        .map_err(|error| format!("cannot read the kernels: {error}"))
}

fn run() -> Result<(), String> {
    let arguments = parse(std::env::args().skip(1)).ok_or(USAGE)?;
    match (&arguments.kernels, arguments.mock) {
        (Some(folder), None) => {
            let gpu = Gpu::open(&read_kernels(folder)?).map_err(text)?;
            let name = gpu.name().map_err(text)?;
            with_toll(&arguments, gpu, &name)
        }
        (None, Some(microseconds)) => {
            let mock = Mock::with_steps_of(Duration::from_micros(microseconds));
            with_toll(&arguments, mock, "mock")
        }
        _ => Err(USAGE.to_owned()),
    }
}

fn with_toll<D: Device>(arguments: &Arguments, device: D, name: &str) -> Result<(), String> {
    if arguments.toll {
        let tolled = Tolled::new(device, Toll::PUBLISHED);
        return bench(arguments, tolled, name);
    }
    bench(arguments, device, name)
}

/// What all batches have in common.
struct Setting<'a> {
    arguments: &'a Arguments,
    name: &'a str,
    context: u32,
    steps: u32,
    /// Bytes a second that this device reads, where that can be measured.
    rate: Option<f64>,
}

fn bench<D: Device>(arguments: &Arguments, device: D, name: &str) -> Result<(), String> {
    let batches = match arguments.batches.as_slice() {
        [] => vec![1, 8, 64],
        given => given.to_vec(),
    };
    let mut setting = Setting {
        arguments,
        name,
        context: arguments.context.unwrap_or(1024),
        steps: arguments.steps.unwrap_or(64),
        rate: None,
    };
    let slots = batches.iter().copied().max().unwrap_or(1);
    let layout = layout(&setting, slots).map_err(|error| error.to_string())?;
    let mut decoder = Decoder::new(device, layout).map_err(text)?;
    let layout = decoder.layout().clone();
    fill(&mut decoder, &layout).map_err(text)?;
    setting.rate = read_rate(decoder.device(), &layout).map_err(text)?;
    if let Some(rate) = setting.rate {
        print(&format!("{{\"read_gb_per_s\":{:.0}}}", rate / 1e9))?;
    }
    for batch in batches {
        print(&measure(&mut decoder, &setting, batch).map_err(text)?)?;
        if arguments.parts {
            for line in parts(decoder.device(), &layout, batch).map_err(text)? {
                print(&line)?;
            }
        }
    }
    Ok(())
}

fn layout(setting: &Setting<'_>, slots: u32) -> Result<Layout, Unsupported> {
    let arguments = setting.arguments;
    let precision = if arguments.fp8 {
        Precision::Fp8
    } else {
        Precision::Bf16
    };
    let mut shape = Shape::llama_8b();
    shape.layers = arguments.layers.unwrap_or(shape.layers);
    let longest = setting.context.saturating_add(setting.steps);
    let context = longest.saturating_add(64).next_multiple_of(128);
    let pages = slots.saturating_mul(context.div_ceil(PAGE));
    let limits = Limits {
        slots,
        context,
        pages,
    };
    Layout::new(shape, limits, precision)
}

/// Weights, keys and values from a seed; every slot has its own pages.
fn fill<D: Device>(decoder: &mut Decoder<D>, layout: &Layout) -> Result<(), DeviceError> {
    for tensor in tensors(layout, 1) {
        decoder.device().run(&filling(&tensor))?;
    }
    for (seed, layer) in (0..).zip(&layout.layers) {
        let pages = seeded::rows(layer.pages, seed, 2.0);
        decoder.device().run(&[pages])?;
    }
    let tables: Vec<u8> = (0..layout.limits.pages)
        .flat_map(u32::to_le_bytes)
        .collect();
    decoder.device().write(layout.work.tables, &tables)
}

/// Decodes three times `steps` tokens for each of `batch` answers; the line with the median.
fn measure<D: Device>(
    decoder: &mut Decoder<D>,
    setting: &Setting<'_>,
    batch: u32,
) -> Result<String, DeviceError> {
    let steps = setting.steps;
    let _warm = decode(decoder, batch, setting.context, 8)?;
    let before = decoder.counters();
    let mut times = Vec::new();
    for _ in 0..3 {
        times.push(decode(decoder, batch, setting.context, steps)?);
    }
    let counters = decoder.counters().since(before);
    times.sort();
    let median = times.get(1).copied().unwrap_or_default();
    let second = median.as_secs_f64() / f64::from(steps.max(1));
    Ok(line(decoder.layout(), setting, batch, second, counters))
}

/// The time of so many steps, each launched before the last one's output was read.
fn decode<D: Device>(
    decoder: &mut Decoder<D>,
    batch: u32,
    position: u32,
    steps: u32,
) -> Result<Duration, DeviceError> {
    let row = |slot, source| Row {
        slot,
        source,
        choice: Some(Choice::GREEDY),
        page: None,
    };
    let fed = |slot| Source::Fed {
        token: slot,
        position,
    };
    let first: Vec<Row> = (0..batch).map(|slot| row(slot, fed(slot))).collect();
    let rows: Vec<Row> = (0..batch).map(|slot| row(slot, Source::Chosen)).collect();
    decoder.launch(&first, &[], None)?;
    decoder.launch(&rows, &[], None)?;
    decoder.collect()?;
    let start = Instant::now();
    for _ in 0..steps {
        decoder.launch(&rows, &[], None)?;
        decoder.collect()?;
    }
    let time = start.elapsed();
    decoder.collect()?;
    Ok(time)
}

#[allow(
    clippy::arithmetic_side_effects,
    clippy::cast_precision_loss,
    reason = "rates for people to read"
)]
fn line(
    layout: &Layout,
    setting: &Setting<'_>,
    batch: u32,
    second: f64,
    counters: Counters,
) -> String {
    // Each run has two steps more than it times.
    let steps = 3 * u64::from(setting.steps + 2);
    let per_step = |count: u64| count as f64 / steps as f64;
    let middle = u64::from(setting.context + setting.steps / 2);
    let cache = u64::from(batch) * middle * layout.bytes_of_a_position();
    let bytes = layout.bytes_of_a_step() + cache;
    let share = setting.rate.map(|rate| bytes as f64 / rate / second);
    let share = share.map_or("null".to_owned(), |share| format!("{share:.3}"));
    let precision = if setting.arguments.fp8 { "fp8" } else { "bf16" };
    let tokens = f64::from(batch) / second;
    if setting.arguments.json {
        return format!(
            "{{\"device\":\"{}\",\"precision\":\"{precision}\",\"batch\":{batch},\"context\":{},\
             \"toll\":{},\"step_ms\":{:.3},\"tokens_per_s\":{tokens:.1},\
             \"bytes_per_step_read\":{bytes},\
             \"share_of_roof\":{share},\"crossings_per_step\":{:.2},\"bytes_per_step\":{:.0},\
             \"allocations_per_step\":{:.2},\"launches_per_step\":{:.2}}}",
            setting.name,
            setting.context,
            setting.arguments.toll,
            second * 1e3,
            per_step(counters.crossings),
            per_step(counters.bytes),
            per_step(counters.allocations),
            per_step(counters.launches),
        );
    }
    format!(
        "{} {precision} batch {batch} at {}: {tokens:.1} tokens/s, {:.3} ms a step, \
         share of roof {share}; a step: {:.2} crossings, {:.0} bytes, \
         {:.2} allocations, {:.2} launches",
        setting.name,
        setting.context,
        second * 1e3,
        per_step(counters.crossings),
        per_step(counters.bytes),
        per_step(counters.allocations),
        per_step(counters.launches),
    )
}

/// The rate at which the device reads memory, in bytes a second: all weights, by a kernel that does
/// nothing else.
#[allow(
    clippy::arithmetic_side_effects,
    clippy::cast_precision_loss,
    reason = "rates for people to read"
)]
fn read_rate<D: Device>(device: &mut D, layout: &Layout) -> Result<Option<f64>, DeviceError> {
    let [bytes, ..] = layout.sizes;
    let whole = Region {
        offset: 0,
        bytes,
        ..layout.embedding
    };
    let read = Launch {
        kernel: "read_all".to_owned(),
        grid: [1056, 1, 1],
        block: 256,
        arguments: vec![
            Argument::At(whole),
            Argument::Long(bytes / 16),
            Argument::At(layout.work.logits),
        ],
    };
    let second = device.time(&[read], 5)?;
    Ok(second.map(|second| bytes as f64 / second))
}

/// How long the kernels of a step take, each kind alone, at the positions of the last step; and the
/// rate at which products read their weights.
#[allow(
    clippy::arithmetic_side_effects,
    clippy::cast_precision_loss,
    reason = "rates for people to read"
)]
fn parts<D: Device>(
    device: &mut D,
    layout: &Layout,
    batch: u32,
) -> Result<Vec<String>, DeviceError> {
    let bucket = bucket_of(batch).ok_or(DeviceError::Bounds)?;
    let mut kinds: BTreeMap<(String, [u32; 3], u64), Vec<Launch>> = BTreeMap::new();
    for launch in plan::step(layout, bucket, 0) {
        let weights = match launch.arguments.first() {
            Some(Argument::At(region)) if region.arena == Arena::Weights => region.bytes,
            _ => 0,
        };
        let kind = (launch.kernel.clone(), launch.grid, weights);
        kinds.entry(kind).or_default().push(launch);
    }
    let mut lines = Vec::new();
    for ((kernel, [x, y, z], weights), launches) in kinds {
        let Some(seconds) = device.time(&launches, 10)? else {
            continue;
        };
        let second = seconds / launches.len() as f64;
        lines.push(format!(
            "{{\"kernel\":\"{kernel}\",\"grid\":[{x},{y},{z}],\"per_step\":{},\"us\":{:.2},\
             \"weights_gb_per_s\":{:.0}}}",
            launches.len(),
            second * 1e6,
            weights as f64 / second / 1e9,
        ));
    }
    Ok(lines)
}
