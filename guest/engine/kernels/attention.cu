// Attention of one position over the pages of its answer, and the kernel in front of it that turns
// queries and keys and writes keys and values to their page.
//
// A page of a layer holds for each key-value head 32 keys and 32 values, bf16, both in the order in
// which the lanes of a warp take them for the tensor cores: keys as [4 tiles][chunks][lane][8],
// values as [width][position]. A block sums 128 positions, a page a warp, for all query heads of
// one key-value head; the last block to end puts the parts together in order. How a sum is cut does
// not depend on the batch.
#include "packed.cuh"

constexpr uint32_t WARPS = SPLIT / PAGE;
constexpr float LEAST = -1e30f;

// Grid: (row, query heads + 2 * key-value heads); a thread is one pair of neighbours.
extern "C" __global__ void turn_and_store(const float* qkv, const float2* angles,
                                          const uint32_t* slots, const int32_t* positions,
                                          const uint32_t* tables, __nv_bfloat16* q,
                                          __nv_bfloat16* pages, uint32_t heads, uint32_t kv_heads,
                                          uint32_t head_width, uint32_t table_width, float scale) {
  let_next_start();
  wait_for_previous();
  const uint32_t row = blockIdx.x, head = blockIdx.y, pair = threadIdx.x;
  const int32_t position = positions[row];
  if (position < 0) return;
  const uint32_t stride = (heads + 2 * kv_heads) * head_width;
  float2 v = reinterpret_cast<const float2*>(qkv + (size_t)row * stride + head * head_width)[pair];
  if (head < heads + kv_heads) {
    const float2 a = angles[(size_t)position * (head_width / 2) + pair];
    v = make_float2(v.x * a.x - v.y * a.y, v.x * a.y + v.y * a.x);
  }
  if (head < heads) {
    uint32_t* to = reinterpret_cast<uint32_t*>(q + ((size_t)row * heads + head) * head_width);
    to[pair] = pack(v.x * scale, v.y * scale);
    return;
  }
  const uint32_t kv = (head - heads) % kv_heads, is_value = (head - heads) / kv_heads;
  const uint32_t page = tables[(size_t)slots[row] * table_width + position / PAGE];
  if (page == NONE) return;
  __nv_bfloat16* to = pages + ((size_t)page * kv_heads + kv) * 2 * PAGE * head_width;
  const uint32_t in_page = position % PAGE;
  if (!is_value) {
    const uint32_t tile = in_page % 8 / 2, g = in_page / 8 * 2 + in_page % 2;
    const uint32_t chunk = pair / 16, t = pair % 16 / 4, e = pair % 4 * 2;
    to += ((tile * (head_width / CHUNK) + chunk) * 32 + g * 4 + t) * 8 + e;
    *reinterpret_cast<uint32_t*>(to) = pack(v.x, v.y);
  } else {
    to += PAGE * head_width + in_page;
    to[(2 * pair) * PAGE] = __float2bfloat16(v.x);
    to[(2 * pair + 1) * PAGE] = __float2bfloat16(v.y);
  }
}

struct Attention {
  const __nv_bfloat16* q;  // turned, and scaled by log2(e) / sqrt(width)
  const __nv_bfloat16* pages;
  const uint32_t *slots, *tables;
  const int32_t* positions;
  float* parts;        // [row][kv head][part][group][width + 2]
  uint32_t* finished;  // [row][kv head], zero before and after
  __nv_bfloat16* out;  // packed activations
  uint32_t kv_heads, table_width, n_tiles;
};

__device__ __forceinline__ void put_together(float& most, float& weight, float& sum, float m,
                                             float w, float s) {
  const float next = fmaxf(most, m), before = exp2f(most - next), now = exp2f(m - next);
  most = next;
  weight = weight * before + w * now;
  sum = sum * before + s * now;
}

// Grid: (kv heads, parts, rows).
//
// Scores are queries (rows of the instruction; heads of the group, at most eight of sixteen) times
// keys. A lane gets the scores of head lane / 4 and of columns 2 * (lane % 4) and the next; column
// c of tile j is given position 8 * (c / 2) + 2 * j + c % 2 of the page, so that what a lane gets
// are the eight positions from 8 * (lane % 4) on: just those that it must hand in for the product
// with the values.
template <uint32_t WIDTH, uint32_t GROUP>
__device__ __forceinline__ void attend(const Attention& p) {
  constexpr uint32_t CHUNKS = WIDTH / CHUNK, TILES = WIDTH / 8;
  __shared__ float block_greatest[WARPS][GROUP], block_weight[WARPS][GROUP];
  __shared__ float block_sum[WARPS][GROUP][WIDTH];
  __shared__ bool is_last;
  let_next_start();
  wait_for_previous();
  const uint32_t kv = blockIdx.x, part = blockIdx.y, row = blockIdx.z;
  const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  const int32_t position = p.positions[row];
  const uint32_t slot = p.slots[row];
  const uint32_t length = position + 1, parts = (length + SPLIT - 1) / SPLIT;
  if (position < 0 || part >= parts) return;
  const uint32_t first = part * SPLIT + warp * PAGE;
  const uint32_t count = first < length ? min(length - first, PAGE) : 0;
  const uint32_t page = count > 0 ? p.tables[(size_t)slot * p.table_width + first / PAGE] : NONE;

  float most = LEAST, weight = 0, sums[TILES][4] = {};
  if (page != NONE) {
    const __nv_bfloat16* keys = p.pages + ((size_t)page * p.kv_heads + kv) * 2 * PAGE * WIDTH;
    const __nv_bfloat16* values = keys + PAGE * WIDTH;
    uint4 k[4][CHUNKS], v[TILES], q[CHUNKS];
#pragma unroll
    for (uint32_t j = 0; j < 4; j++)
#pragma unroll
      for (uint32_t c = 0; c < CHUNKS; c++)
        k[j][c] = load_once(reinterpret_cast<const uint4*>(keys) + (j * CHUNKS + c) * 32 + lane);
#pragma unroll
    for (uint32_t n = 0; n < TILES; n++)
      v[n] = load_once(reinterpret_cast<const uint4*>(values + (n * 8 + g) * PAGE + 8 * t));
#pragma unroll
    for (uint32_t c = 0; c < CHUNKS; c++)
      q[c] =
          g < GROUP
              ? *reinterpret_cast<const uint4*>(
                    p.q + (((size_t)row * p.kv_heads + kv) * GROUP + g) * WIDTH + c * CHUNK + 8 * t)
              : make_uint4(0, 0, 0, 0);
    float score[4][4] = {};
#pragma unroll
    for (uint32_t c = 0; c < CHUNKS; c++) {
#pragma unroll
      for (uint32_t j = 0; j < 4; j++)
        multiply_add(score[j], q[c].x, 0, q[c].y, 0, k[j][c].x, k[j][c].y);
#pragma unroll
      for (uint32_t j = 0; j < 4; j++)
        multiply_add(score[j], q[c].z, 0, q[c].w, 0, k[j][c].z, k[j][c].w);
    }
    // What lies behind the last position may be anything, a number or not.
    if (count < PAGE) {
#pragma unroll
      for (uint32_t j = 0; j < 4; j++)
#pragma unroll
        for (uint32_t i = 0; i < 2; i++)
          if (8 * t + 2 * j + i >= count) score[j][i] = LEAST;
      auto kept = [&](uint32_t word, uint32_t at) {
        return at + 1 < count ? word : at < count ? word & 0xffffu : 0;
      };
#pragma unroll
      for (uint32_t n = 0; n < TILES; n++)
        v[n] = make_uint4(kept(v[n].x, 8 * t), kept(v[n].y, 8 * t + 2), kept(v[n].z, 8 * t + 4),
                          kept(v[n].w, 8 * t + 6));
    }
#pragma unroll
    for (uint32_t j = 0; j < 4; j++) most = fmaxf(most, fmaxf(score[j][0], score[j][1]));
    most = fmaxf(most, __shfl_xor_sync(~0u, most, 1));
    most = fmaxf(most, __shfl_xor_sync(~0u, most, 2));
    uint32_t e[4];
#pragma unroll
    for (uint32_t j = 0; j < 4; j++) {
      // Nothing of a score that was masked: the least score is far below any other.
      e[j] = pack(exp2f(score[j][0] - most), exp2f(score[j][1] - most));
      weight += low(e[j]) + high(e[j]);
    }
    weight += __shfl_xor_sync(~0u, weight, 1);
    weight += __shfl_xor_sync(~0u, weight, 2);
#pragma unroll
    for (uint32_t n = 0; n < TILES; n++) multiply_add(sums[n], e[0], 0, e[1], 0, v[n].x, v[n].y);
#pragma unroll
    for (uint32_t n = 0; n < TILES; n++) multiply_add(sums[n], e[2], 0, e[3], 0, v[n].z, v[n].w);
  }

  if (g < GROUP) {
#pragma unroll
    for (uint32_t n = 0; n < TILES; n++)
      *reinterpret_cast<float2*>(&block_sum[warp][g][n * 8 + 2 * t]) =
          make_float2(sums[n][0], sums[n][1]);
    if (t == 0) block_greatest[warp][g] = most, block_weight[warp][g] = weight;
  }
  __syncthreads();
  const size_t line = (size_t)row * p.kv_heads + kv;
  auto write = [&](uint32_t h, uint32_t i, float value) {
    const uint32_t k = (kv * GROUP + h) * WIDTH + i;
    p.out[activation_at(row, k & ~7u, p.n_tiles) * 8 + k % 8] = __float2bfloat16(value);
  };
  for (uint32_t i = threadIdx.x; i < GROUP * WIDTH; i += WARPS * 32) {
    const uint32_t h = i / WIDTH, c = i % WIDTH;
    float m = LEAST, w = 0, s = 0;
#pragma unroll
    for (uint32_t o = 0; o < WARPS; o++)
      put_together(m, w, s, block_greatest[o][h], block_weight[o][h], block_sum[o][h][c]);
    if (parts == 1) {
      write(h, c, s / w);
    } else {
      float* to = p.parts + ((line * gridDim.y + part) * GROUP + h) * (WIDTH + 2);
      to[c] = s;
      if (c == 0) to[WIDTH] = m, to[WIDTH + 1] = w;
    }
  }
  if (parts == 1) return;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) is_last = atomicAdd(&p.finished[line], 1) == parts - 1;
  __syncthreads();
  if (!is_last) return;
  __threadfence();
  for (uint32_t i = threadIdx.x; i < GROUP * WIDTH; i += WARPS * 32) {
    const uint32_t h = i / WIDTH, c = i % WIDTH;
    const float* from = p.parts + (line * gridDim.y * GROUP + h) * (WIDTH + 2);
    float m = LEAST, w = 0, s = 0;
#pragma unroll 8
    for (uint32_t o = 0; o < parts; o++, from += GROUP * (WIDTH + 2))
      put_together(m, w, s, __ldcg(from + WIDTH), __ldcg(from + WIDTH + 1), __ldcg(from + c));
    write(h, c, s / w);
  }
  if (threadIdx.x == 0) p.finished[line] = 0;
}

#define ATTENTION(WIDTH, GROUP)                                                               \
  extern "C" __global__ void __launch_bounds__(WARPS * 32, 2) attend_##WIDTH##_##GROUP(       \
      const __nv_bfloat16* q, const __nv_bfloat16* pages, const uint32_t* slots,              \
      const int32_t* positions, const uint32_t* tables, float* parts, uint32_t* finished,     \
      __nv_bfloat16* out, uint32_t kv_heads, uint32_t table_width, uint32_t n_tiles) {        \
    attend<WIDTH, GROUP>({q, pages, slots, tables, positions, parts, finished, out, kv_heads, \
                          table_width, n_tiles});                                             \
  }
ATTENTION(64, 1)
ATTENTION(64, 3)
ATTENTION(64, 4)
ATTENTION(128, 1)
ATTENTION(128, 4)
ATTENTION(128, 8)
