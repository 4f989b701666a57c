//! A GPU with empty arenas to put things in, and the packing of weights and activations undone.

use cuda_lab::seeded::{Filling, Tensor, bf16, filling, mixed, seeded, values};
use engine_cuda::device::Device;
use engine_cuda::driver::Gpu;
use engine_cuda::layout::{Arena, Layout, Matrix, Region};
use engine_cuda::shape::{Limits, Precision, SPLIT, Shape};

#[allow(
    clippy::disallowed_methods,
    reason = "the test harness takes no arguments of its own"
)]
pub(crate) fn gpu() -> Gpu {
    let folder = std::env::var("COCOON_CUDA_KERNELS").expect("COCOON_CUDA_KERNELS names a folder");
    let names = ["product", "attention", "rows", "seeded"];
    let images = names.map(|name| std::fs::read(format!("{folder}/{name}.fatbin")).unwrap());
    Gpu::open(&images).unwrap()
}

/// One arena of 512 MiB.
pub(crate) struct Lab {
    pub(crate) gpu: Gpu,
    used: u64,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let mut gpu = gpu();
        let limits = Limits {
            slots: 1,
            context: SPLIT,
            pages: 1,
        };
        let mut layout = Layout::new(Shape::llama_8b(), limits, Precision::Bf16).unwrap();
        layout.sizes = [256, 256, 512 << 20];
        gpu.reserve(&layout, 64, 64).unwrap();
        Self { gpu, used: 0 }
    }

    pub(crate) fn take(&mut self, bytes: u64) -> Region {
        let offset = self.used;
        self.used += bytes.next_multiple_of(256);
        Region {
            arena: Arena::Work,
            offset,
            bytes,
        }
    }

    pub(crate) fn put(&mut self, values: &[f32]) -> Region {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.put_bytes(&bytes)
    }

    pub(crate) fn put_bytes(&mut self, bytes: &[u8]) -> Region {
        let region = self.take(bytes.len() as u64);
        self.gpu.write(region, bytes).unwrap();
        region
    }

    /// Not-a-numbers.
    pub(crate) fn poisoned(&mut self, floats: usize) -> Region {
        self.put(&vec![f32::NAN; floats])
    }

    pub(crate) fn matrix(
        &mut self,
        rows: u32,
        columns: u32,
        precision: Precision,
        seed: u64,
    ) -> (Matrix, Vec<f32>) {
        let padded = u64::from(rows).next_multiple_of(128);
        let weights = self.take(padded * u64::from(columns) * precision.bytes());
        let scales = (precision == Precision::Fp8).then(|| self.take(4 * padded));
        let matrix = Matrix {
            weights,
            scales,
            rows,
            columns,
            precision,
        };
        let tensor = Tensor {
            filling: Filling::Matrix(matrix),
            seed,
            amplitude: 0.5,
        };
        self.gpu.run(&filling(&tensor)).unwrap();
        (matrix, values(&tensor))
    }

    pub(crate) fn bytes(&mut self, region: Region) -> Vec<u8> {
        let mut bytes = vec![0; region.bytes as usize];
        self.gpu.read(region, &mut bytes).unwrap();
        bytes
    }

    pub(crate) fn floats(&mut self, region: Region) -> Vec<f32> {
        floats(&self.bytes(region))
    }

    pub(crate) fn bf16s(&mut self, region: Region) -> Vec<f32> {
        bf16s(&self.bytes(region))
    }
}

pub(crate) fn floats(bytes: &[u8]) -> Vec<f32> {
    let (words, _) = bytes.as_chunks::<4>();
    words.iter().map(|word| f32::from_le_bytes(*word)).collect()
}

pub(crate) fn bf16s(bytes: &[u8]) -> Vec<f32> {
    let (words, _) = bytes.as_chunks::<2>();
    words
        .iter()
        .map(|word| f32::from_bits(u32::from(u16::from_le_bytes(*word)) << 16))
        .collect()
}

/// Numbers between -1 and 1 that 16 bits hold.
pub(crate) fn random(seed: u64, count: usize) -> Vec<f32> {
    (0..count as u64)
        .map(|at| bf16(seeded(mixed(seed, 99), at, 2.0)))
        .collect()
}

pub(crate) fn to_bf16(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|v| ((v.to_bits() >> 16) as u16).to_le_bytes())
        .collect()
}

/// Where activation k of row n lies: the formula of `kernels/packed.cuh`, written once more.
pub(crate) fn activation_at(n: usize, k: usize, n_tiles: usize) -> usize {
    ((k / 32 * n_tiles + n / 8) * 32 + n % 8 * 4 + k % 32 / 8) * 8 + k % 8
}

/// Packs rows of activations.
pub(crate) fn packed(rows: &[f32], columns: usize) -> Vec<f32> {
    let n_tiles = (rows.len() / columns).div_ceil(8);
    let mut out = vec![0.0; n_tiles * 8 * columns];
    for (n, row) in rows.chunks_exact(columns).enumerate() {
        for (k, value) in row.iter().enumerate() {
            out[activation_at(n, k, n_tiles)] = *value;
        }
    }
    out
}

/// Rows of packed activations.
pub(crate) fn unpacked(packed: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let n_tiles = rows.div_ceil(8);
    (0..rows)
        .flat_map(|n| (0..columns).map(move |k| activation_at(n, k, n_tiles)))
        .map(|at| packed[at])
        .collect()
}

/// The length of the difference over the length of the reference. Not-a-numbers never pass.
pub(crate) fn error(found: &[f32], reference: &[f32]) -> f64 {
    assert_eq!(found.len(), reference.len());
    let square = |value: f64| value * value;
    let pairs = found.iter().zip(reference);
    let off: f64 = pairs
        .map(|(a, b)| square(f64::from(*a) - f64::from(*b)))
        .sum();
    let all: f64 = reference.iter().map(|b| square(f64::from(*b))).sum();
    let error = (off / all).sqrt();
    if error.is_nan() { f64::INFINITY } else { error }
}
