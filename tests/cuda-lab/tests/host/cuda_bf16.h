// In the place of CUDA's header, for kernels that are compiled for the host: what the sources name,
// as far as it has a meaning there. Threads of a block are told in `block.cpp`.
#pragma once
#include <stdint.h>
#include <string.h>

#include <algorithm>
#include <cmath>

#define __device__
#define __global__
#define __forceinline__ inline
#define __shared__ static
#define __launch_bounds__(...)
using std::isfinite, std::max, std::min;

struct Three {
  uint32_t x, y, z;
};
extern Three threadIdx, blockIdx, blockDim, gridDim;
struct uint2 {
  uint32_t x, y;
};
struct uint4 {
  uint32_t x, y, z, w;
};
struct float4 {
  float x, y, z, w;
};
inline uint2 make_uint2(uint32_t x, uint32_t y) { return {x, y}; }
inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) { return {x, y, z, w}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

template <class To, class From>
To same_bits(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}
inline uint32_t __float_as_uint(float value) { return same_bits<uint32_t>(value); }
inline float __uint_as_float(uint32_t bits) { return same_bits<float>(bits); }

// Not fused: the host's compiler is told so.
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline uint64_t __umul64hi(uint64_t a, uint64_t b) { return (unsigned __int128)a * b >> 64; }

using __nv_bfloat16 = uint16_t;
using __nv_bfloat162 = uint32_t;
inline __nv_bfloat16 __float2bfloat16(float value) {
  const uint32_t bits = __float_as_uint(value);
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
inline __nv_bfloat162 __floats2bfloat162_rn(float low, float high) {
  return __float2bfloat16(low) | (uint32_t)__float2bfloat16(high) << 16;
}

void __syncthreads();
uint64_t exchanged(uint64_t mine, uint32_t with);
template <class T>
T __shfl_xor_sync(uint32_t, T value, uint32_t distance) {
  uint64_t mine = 0;
  memcpy(&mine, &value, sizeof value);
  mine = exchanged(mine, distance);
  memcpy(&value, &mine, sizeof value);
  return value;
}
