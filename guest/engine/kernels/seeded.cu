// Weights from a seed, made where they lie: for tests and benches that have no model. Each number
// is an exact function of its matrix, row and column, so the CPU makes the same ones.
#include <cuda_fp8.h>

#include "packed.cuh"

__device__ __forceinline__ float seeded(uint64_t seed, uint64_t at, float amplitude) {
  return ((float)(mixed(seed, at) >> 40) * (1.f / 16777216.f) - 0.5f) * amplitude;
}

// Rows from `rows` on up to a multiple of 128 are zero.
extern "C" __global__ void seed_packed_bf16(__nv_bfloat16* out, uint32_t rows, uint32_t chunks,
                                            uint64_t count, uint64_t seed, float amplitude) {
  for (uint64_t i = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count;
       i += (uint64_t)gridDim.x * blockDim.x) {
    const uint32_t e = i % 8, lane = i / 8 % 32, half = i / 256 % 2;
    const uint64_t block = i / 512, tile = block / chunks, chunk = block % chunks;
    const uint64_t row = tile * 16 + half * 8 + lane / 4, column = chunk * 32 + lane % 4 * 8 + e;
    out[i] =
        __float2bfloat16(row < rows ? seeded(seed, row * chunks * 32 + column, amplitude) : 0.f);
  }
}

// The stored number is the value divided by the row's scale, amplitude / 896: the greatest is 448.
extern "C" __global__ void seed_packed_fp8(uint8_t* out, uint32_t rows, uint32_t chunks,
                                           uint64_t count, uint64_t seed, float amplitude) {
  for (uint64_t i = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count;
       i += (uint64_t)gridDim.x * blockDim.x) {
    // Of four bytes, the second and third change places: see Fp8 in product.cu.
    const uint32_t e = (i & 4) | (i & 1) << 1 | (i >> 1 & 1), half = i / 8 % 2, lane = i / 16 % 32;
    const uint64_t block = i / 512, tile = block / chunks, chunk = block % chunks;
    const uint64_t row = tile * 16 + half * 8 + lane / 4, column = chunk * 32 + lane % 4 * 8 + e;
    const float value = row < rows ? seeded(seed, row * chunks * 32 + column, 896.f) : 0.f;
    out[i] = __nv_cvt_float_to_fp8(value, __NV_SATFINITE, __NV_E4M3);
  }
}

extern "C" __global__ void seed_rows_bf16(__nv_bfloat16* out, uint64_t count, uint64_t seed,
                                          float amplitude) {
  for (uint64_t i = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count;
       i += (uint64_t)gridDim.x * blockDim.x)
    out[i] = __float2bfloat16(seeded(seed, i, amplitude));
}

// base + a seeded number: norms (1 and a little), scales (amplitude 0).
extern "C" __global__ void seed_floats(float* out, uint64_t count, uint64_t seed, float base,
                                       float amplitude) {
  for (uint64_t i = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count;
       i += (uint64_t)gridDim.x * blockDim.x)
    out[i] = base + seeded(seed, i, amplitude);
}

// Reads much and writes next to nothing: the rate at which this machine reads memory.
extern "C" __global__ void read_all(const uint4* from, uint64_t count, uint32_t* out) {
  uint32_t sum = 0;
  const uint64_t step = (uint64_t)gridDim.x * blockDim.x;
  uint64_t i = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x;
  for (; i + 7 * step < count; i += 8 * step) {
    uint4 v[8];
#pragma unroll
    for (uint32_t u = 0; u < 8; u++) v[u] = load_once(from + i + u * step);
#pragma unroll
    for (uint32_t u = 0; u < 8; u++) sum ^= v[u].x ^ v[u].y ^ v[u].z ^ v[u].w;
  }
  if (sum == 0x12345678u) *out = sum;
}
