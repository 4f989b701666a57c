// What all kernels share: how weights and activations lie in memory, the one tensor-core
// instruction, and how a kernel starts before the one in front of it has ended.
//
// A matrix is cut into tiles of 16 rows and chunks of 32 columns, and each chunk is stored in the
// order in which the lanes of a warp take it: 16 bytes a lane, 512 contiguous bytes a load. The
// instruction sums over 16 columns in an order of its own; weights and activations are permuted
// alike, so which column is which does not matter. A lane's place: row (lane / 4), columns
// 8 * (lane % 4) and the seven behind it.
#pragma once
#include <cuda_bf16.h>
#include <stdint.h>

constexpr uint32_t TILE = 16;    // rows of a tile
constexpr uint32_t CHUNK = 32;   // columns of a chunk
constexpr uint32_t SLICES = 8;   // parts of a row's sum: always eight, so that the order of
                                 // additions, and with it every bit, is the same for every batch
constexpr uint32_t PAGE = 32;    // positions in a page of the KV cache
constexpr uint32_t SPLIT = 128;  // positions that one block of attention sums
constexpr uint32_t NONE = 0xffffffffu;

// Programmatic dependent launch: the next kernel may be put on the machine now.
__device__ __forceinline__ void let_next_start() {
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}

// All kernels in front are complete and their writes visible. Every kernel calls this; before it,
// only weights may be read.
__device__ __forceinline__ void wait_for_previous() {
  asm volatile("griddepcontrol.wait;" ::: "memory");
}

// Weights are read once a step: not kept in the first cache, first to leave the second.
__device__ __forceinline__ uint4 load_once(const uint4* at) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(at));
  return v;
}

// sums += 16 x 16 weights times 16 x 8 activations.
__device__ __forceinline__ void multiply_add(float (&sums)[4], uint32_t a0, uint32_t a1,
                                             uint32_t a2, uint32_t a3, uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// Where eight activations of row n from column k (a multiple of 8) on lie, in units of 16 bytes.
__device__ __forceinline__ size_t activation_at(uint32_t n, uint32_t k, uint32_t n_tiles) {
  return ((size_t)(k / CHUNK) * n_tiles + n / 8) * 32 + (n % 8) * 4 + (k % CHUNK) / 8;
}

__device__ __forceinline__ uint32_t pack(float low, float high) {
  __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<uint32_t*>(&pair);
}

__device__ __forceinline__ float low(uint32_t pair) { return __uint_as_float(pair << 16); }
__device__ __forceinline__ float high(uint32_t pair) { return __uint_as_float(pair & 0xffff0000u); }

// A number from a seed and a place, the same on every machine: splitmix64's mixing.
__device__ __forceinline__ uint64_t mixed(uint64_t seed, uint64_t at) {
  uint64_t z = seed + (at + 1) * 0x9e3779b97f4a7c15ull;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}
