// Products of a packed matrix with a few rows of activations: the bulk of a decode step, bound by
// the bytes of the weights. Tensor cores do the arithmetic so that it never shows; weights go
// straight from memory into registers, since each is used by one warp only.
//
// Two kernels, one order of additions: a row's sum is eight partial sums over eighths of the
// columns, added in order. In the narrow one (1 to 8 rows) they are the eight warps of a block; in
// the wide one (16 rows and more) the eight blocks of a cluster. So a row has the same bits in
// every batch.
#include "packed.cuh"

enum Epilogue { STORE = 0, ADD = 1, SILU = 2 };

// 16-bit weights: two loads of 16 bytes a lane for a chunk of a tile.
struct Bf16 {
  // Loads a chunk, and chunks asked for ahead in the narrow and the wide kernel.
  static constexpr uint32_t LOADS = 2, DEPTH = 4, WIDE = 2;
  // The first and the second 16 columns of a chunk.
  __device__ static void first(float (&sums)[4], const uint4 (&w)[2], const uint4& x) {
    multiply_add(sums, w[0].x, w[1].x, w[0].y, w[1].y, x.x, x.y);
  }
  __device__ static void second(float (&sums)[4], const uint4 (&w)[2], const uint4& x) {
    multiply_add(sums, w[0].z, w[1].z, w[0].w, w[1].w, x.z, x.w);
  }
};

// 8-bit weights (e4m3), one load: eight of row g, eight of row g + 8; of each four, the second and
// third are stored in each other's place, so that a pair is two shifts away from its lane. The bits
// of an e4m3 number, moved to their places in a bf16 one, are that number times 2^-120.
struct Fp8 {
  static constexpr uint32_t LOADS = 1, DEPTH = 8, WIDE = 4;
  __device__ static uint32_t widen(uint32_t pair) {  // bytes 1 and 3 of the word
    uint32_t bits = (pair & 0x80008000u) | ((pair & 0x7f007f00u) >> 4);
    uint32_t out;
    asm("mul.bf16x2 %0, %1, %2;" : "=r"(out) : "r"(bits), "r"(0x7b807b80u));  // 2^120
    return out;
  }
  __device__ static void first(float (&sums)[4], const uint4 (&w)[1], const uint4& x) {
    multiply_add(sums, widen(w[0].x << 8), widen(w[0].z << 8), widen(w[0].x), widen(w[0].z), x.x,
                 x.y);
  }
  __device__ static void second(float (&sums)[4], const uint4 (&w)[1], const uint4& x) {
    multiply_add(sums, widen(w[0].y << 8), widen(w[0].w << 8), widen(w[0].y), widen(w[0].w), x.z,
                 x.w);
  }
};

struct Place {
  const uint4* weights;
  const float* scales;  // of rows; null: all one
  const uint4* x;
  void* out;
  uint32_t rows, chunks, columns, n_tiles, stride;
};

__device__ __forceinline__ uint32_t slice_start(uint32_t slice, uint32_t chunks) {
  return slice * chunks / SLICES;
}

template <Epilogue E>
__device__ __forceinline__ void finish(const Place& p, uint32_t row, uint32_t n, float value) {
  if (row >= p.rows || n >= p.columns) return;
  if (p.scales != nullptr) value *= p.scales[row];
  float* out = static_cast<float*>(p.out) + (size_t)n * p.stride + row;
  if (E == ADD) value += *out;
  *out = value;
}

// Rows of a tile are eight of the gate, then eight of the other projection.
__device__ __forceinline__ void finish_silu(const Place& p, uint32_t tile, uint32_t g, uint32_t n,
                                            float gate, float up) {
  uint32_t row = tile * TILE + g;
  if (row + 8 >= p.rows || n >= p.columns) return;
  if (p.scales != nullptr) {
    gate *= p.scales[row];
    up *= p.scales[row + 8];
  }
  uint32_t k = tile * 8 + g;
  auto* out = static_cast<__nv_bfloat16*>(p.out);
  out[activation_at(n, k & ~7u, p.n_tiles) * 8 + k % 8] =
      __float2bfloat16(gate / (1 + __expf(-gate)) * up);
}

template <class W>
__device__ __forceinline__ void load(uint4 (&w)[W::LOADS], const uint4* tile, uint32_t chunk) {
  const uint4* at = tile + (size_t)chunk * (W::LOADS * 32) + threadIdx.x % 32;
#pragma unroll
  for (uint32_t i = 0; i < W::LOADS; i++) w[i] = load_once(at + i * 32);
}

template <class W, Epilogue E>
__device__ __forceinline__ void narrow(const Place& p) {
  __shared__ float partial[SLICES][TILE][9];
  const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32, tile = blockIdx.x;
  const uint32_t begin = slice_start(warp, p.chunks), end = slice_start(warp + 1, p.chunks);
  const uint4* weights = p.weights + (size_t)tile * p.chunks * (W::LOADS * 32);
  constexpr uint32_t D = W::DEPTH;
  constexpr uint32_t NEAR = 4;  // activations come from the caches: asked for later
  uint4 w[D][W::LOADS], x[NEAR];
  float sums[4] = {0, 0, 0, 0};

  let_next_start();
#pragma unroll
  for (uint32_t i = 0; i < D; i++)
    if (begin + i < end) load<W>(w[i], weights, begin + i);
  wait_for_previous();
  // Rows that are not there are not read; their columns of the sums are never used.
  const bool present = lane / 4 < p.columns;
  auto activations = [&](uint32_t chunk) {
    return present ? p.x[(size_t)chunk * 32 + lane] : make_uint4(0, 0, 0, 0);
  };
#pragma unroll
  for (uint32_t i = 0; i < NEAR; i++)
    if (begin + i < end) x[i] = activations(begin + i);
  for (uint32_t chunk = begin; chunk < end; chunk += D) {
#pragma unroll
    for (uint32_t i = 0; i < D; i++) {
      if (chunk + i < end) {
        W::first(sums, w[i], x[i % NEAR]);
        W::second(sums, w[i], x[i % NEAR]);
      }
      if (chunk + i + D < end) load<W>(w[i], weights, chunk + i + D);
      if (chunk + i + NEAR < end) x[i % NEAR] = activations(chunk + i + NEAR);
    }
  }

  const uint32_t g = lane / 4, n = lane % 4 * 2;
  partial[warp][g][n] = sums[0];
  partial[warp][g][n + 1] = sums[1];
  partial[warp][g + 8][n] = sums[2];
  partial[warp][g + 8][n + 1] = sums[3];
  __syncthreads();
  auto total = [&](uint32_t row, uint32_t n) {
    float sum = 0;
#pragma unroll
    for (uint32_t s = 0; s < SLICES; s++) sum += partial[s][row][n];
    return sum;
  };
  const uint32_t i = threadIdx.x;
  if (E == SILU) {
    if (i < 64) finish_silu(p, tile, i % 8, i / 8, total(i % 8, i / 8), total(i % 8 + 8, i / 8));
  } else if (i < 128) {
    finish<E>(p, tile * TILE + i % 16, i / 16, total(i % 16, i / 16));
  }
}

__device__ __forceinline__ void cluster_arrive() {
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}

__device__ __forceinline__ void cluster_wait() {
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

__device__ __forceinline__ float load_from_block(uint32_t shared, uint32_t rank) {
  uint32_t at;
  float value;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(at) : "r"(shared), "r"(rank));
  asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(value) : "r"(at) : "memory");
  return value;
}

// Warps of a block of a cluster, which share 128 rows; blocks of a multiprocessor. The products
// that add have few rows: there more, thinner warps are faster (measured).
template <Epilogue E>
struct Warps {
  static constexpr uint32_t COUNT = E == ADD ? 8 : 4, BLOCKS = E == ADD ? 3 : 4;
};
constexpr uint32_t COLUMN =
    132;  // 128 rows of sums, and room that keeps lanes off each other's banks

// The sums of a block of `wide` into its shared memory: [row of activations][row of the
// matrix].
template <uint32_t T, uint32_t NT>
__device__ __forceinline__ void share(float* partial, const float (&sums)[T][NT][4]) {
  const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#pragma unroll
  for (uint32_t t = 0; t < T; t++)
#pragma unroll
    for (uint32_t n = 0; n < NT; n++) {
      float* at = partial + (n * 8 + lane % 4 * 2) * COLUMN + (warp * T + t) * 16 + lane / 4;
      at[0] = sums[t][n][0];
      at[COLUMN] = sums[t][n][1];
      at[8] = sums[t][n][2];
      at[COLUMN + 8] = sums[t][n][3];
    }
}

// Adds the sums of the eight blocks of a cluster, in order, and ends them: each block NT of the NT
// * 8 rows of activations.
template <uint32_t NT, Epilogue E>
__device__ __forceinline__ void gather(const Place& p, const float* partial, uint32_t row_block) {
  const uint32_t slice = blockIdx.x, n_block = blockIdx.y;
  const uint32_t base = (uint32_t)__cvta_generic_to_shared(partial);
  constexpr uint32_t THREADS = Warps<E>::COUNT * 32;
  auto total = [&](uint32_t row, uint32_t n) {
    float sum = 0;
#pragma unroll
    for (uint32_t s = 0; s < SLICES; s++) sum += load_from_block(base + (n * COLUMN + row) * 4, s);
    return sum;
  };
  if (E == SILU) {
#pragma unroll 2
    for (uint32_t i = threadIdx.x; i < NT * 64; i += THREADS) {
      const uint32_t n = slice * NT + i / 64, j = i % 64, row = j / 8 * 16 + j % 8;
      finish_silu(p, row_block * 8 + j / 8, j % 8, n_block * NT * 8 + n, total(row, n),
                  total(row + 8, n));
    }
  } else {
#pragma unroll 4
    for (uint32_t i = threadIdx.x; i < NT * 128; i += THREADS) {
      const uint32_t n = slice * NT + i / 128, row = i % 128;
      finish<E>(p, row_block * 128 + row, n_block * NT * 8 + n, total(row, n));
    }
  }
}

// One chunk of a warp's tiles. Two products on one sum wait for each other: others go in between.
template <class W, uint32_t T, uint32_t NT>
__device__ __forceinline__ void multiply_chunk(float (&sums)[T][NT][4],
                                               const uint4 (&w)[T][W::LOADS], const uint4* x) {
  constexpr uint32_t GROUP = NT < 4 ? NT : 4;
  const uint32_t lane = threadIdx.x % 32;
#pragma unroll
  for (uint32_t group = 0; group < NT; group += GROUP) {
    uint4 b[GROUP];
#pragma unroll
    for (uint32_t n = 0; n < GROUP; n++) b[n] = x[(group + n) * 32 + lane];
#pragma unroll
    for (uint32_t n = 0; n < GROUP; n++)
#pragma unroll
      for (uint32_t t = 0; t < T; t++) W::first(sums[t][group + n], w[t], b[n]);
#pragma unroll
    for (uint32_t n = 0; n < GROUP; n++)
#pragma unroll
      for (uint32_t t = 0; t < T; t++) W::second(sums[t][group + n], w[t], b[n]);
  }
}

// A block: 128 rows of the matrix, NT * 8 rows of activations, one slice of the columns.
// Grid: (8 slices, blocks of activations, blocks of 128 rows); a cluster is the eight slices.
template <class W, uint32_t NT, Epilogue E>
__device__ __forceinline__ void wide(const Place& p) {
  constexpr uint32_t D = W::WIDE, STAGES = 4, PER_STAGE = 2;
  constexpr uint32_t T = 8 / Warps<E>::COUNT, THREADS = Warps<E>::COUNT * 32;
  constexpr uint32_t STAGE = PER_STAGE * NT * 32;  // units of 16 bytes
  __shared__ uint4 shared[NT * 8 * COLUMN / 4];    // activations first, partial sums after
  const uint32_t warp = threadIdx.x / 32;
  const uint32_t slice = blockIdx.x, n_block = blockIdx.y;
  const uint32_t begin = slice_start(slice, p.chunks), end = slice_start(slice + 1, p.chunks);
  const uint32_t tile = blockIdx.z * 8 + warp * T;
  const uint4* weights[T];
#pragma unroll
  for (uint32_t t = 0; t < T; t++)
    weights[t] = p.weights + (size_t)(tile + t) * p.chunks * (W::LOADS * 32);
  uint4 w[D][T][W::LOADS];
  float sums[T][NT][4] = {};

  let_next_start();
#pragma unroll
  for (uint32_t i = 0; i < D; i++)
    if (begin + i < end) {
#pragma unroll
      for (uint32_t t = 0; t < T; t++) load<W>(w[i][t], weights[t], begin + i);
    }
  wait_for_previous();

  const uint4* x = p.x + (size_t)n_block * NT * 32;
  auto stage = [&](uint32_t from) {  // asynchronously: two chunks of activations
#pragma unroll
    for (uint32_t i = threadIdx.x; i < STAGE; i += THREADS) {
      const uint32_t chunk = from + i / (NT * 32);
      if (chunk < end) {
        uint32_t to = (uint32_t)__cvta_generic_to_shared(
            &shared[((from - begin) / PER_STAGE % STAGES) * STAGE + i]);
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to),
                     "l"(x + (size_t)chunk * p.n_tiles * 32 + i % (NT * 32)));
      }
    }
    asm volatile("cp.async.commit_group;" ::: "memory");
  };
#pragma unroll
  for (uint32_t s = 0; s < STAGES - 1; s++) stage(begin + s * PER_STAGE);
  for (uint32_t base = begin; base < end; base += D) {
#pragma unroll
    for (uint32_t i = 0; i < D; i++) {
      const uint32_t chunk = base + i;
      if (i % PER_STAGE == 0 && chunk < end) {
        asm volatile("cp.async.wait_group %0;" ::"n"(STAGES - 2) : "memory");
        __syncthreads();
        stage(chunk + (STAGES - 1) * PER_STAGE);
      }
      if (chunk < end) {
        const uint32_t at = (chunk - begin) / PER_STAGE % STAGES * STAGE + i % PER_STAGE * NT * 32;
        multiply_chunk<W, T, NT>(sums, w[i], shared + at);
      }
      if (chunk + D < end) {
#pragma unroll
        for (uint32_t t = 0; t < T; t++) load<W>(w[i][t], weights[t], chunk + D);
      }
    }
  }

  asm volatile("cp.async.wait_group 0;" ::: "memory");
  __syncthreads();
  float* partial = reinterpret_cast<float*>(shared);
  share<T, NT>(partial, sums);
  cluster_arrive();
  cluster_wait();
  gather<NT, E>(p, partial, blockIdx.z);
  cluster_arrive();  // nobody leaves while its sums are read
  cluster_wait();
}

// The kernels by name: narrow_bf16_store, wide64_fp8_silu, ...
#define ENTRY(NAME, BOUNDS, BODY)                                                          \
  extern "C" __global__ void BOUNDS NAME(                                                  \
      const uint4* weights, const float* scales, const uint4* x, void* out, uint32_t rows, \
      uint32_t chunks, uint32_t columns, uint32_t n_tiles, uint32_t stride) {              \
    BODY(Place{weights, scales, x, out, rows, chunks, columns, n_tiles, stride});          \
  }
#define WIDTHS(W, w, E, e)                                                             \
  ENTRY(narrow_##w##_##e, __launch_bounds__(256, 3), (narrow<W, E>))                   \
  ENTRY(wide16_##w##_##e,                                                              \
        __cluster_dims__(8) __launch_bounds__(Warps<E>::COUNT * 32, Warps<E>::BLOCKS), \
        (wide<W, 2, E>))                                                               \
  ENTRY(wide32_##w##_##e,                                                              \
        __cluster_dims__(8) __launch_bounds__(Warps<E>::COUNT * 32, Warps<E>::BLOCKS), \
        (wide<W, 4, E>))                                                               \
  ENTRY(wide64_##w##_##e,                                                              \
        __cluster_dims__(8) __launch_bounds__(Warps<E>::COUNT * 32, Warps<E>::BLOCKS), \
        (wide<W, 8, E>))
#define EPILOGUES(W, w) WIDTHS(W, w, STORE, store) WIDTHS(W, w, ADD, add) WIDTHS(W, w, SILU, silu)
EPILOGUES(Bf16, bf16)
EPILOGUES(Fp8, fp8)
