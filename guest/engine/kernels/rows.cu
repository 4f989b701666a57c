// What is done once per row of a step, and costs next to nothing: reading what the host sent, the
// embedding, norms, choosing a token; and wiping pages.
#include "draw.cuh"
#include "packed.cuh"

// One row as the host sends it: 44 bytes, docs in guest/engine/cuda/src/step.rs.
struct Row {
  uint32_t flags, slot, token, position, table_index, page;
  float sharpness;  // one over the temperature
  uint32_t drawn_low, drawn_high, shares;
  int16_t presence, frequency;
};
// Above them in the same word: how many of the likeliest may be drawn, 0 for all.
enum Flags { ACTIVE = 1, FEED = 2, SAMPLE = 4, FIRST = 8, SHIFTED = 16, LIKELIEST_AT = 8 };

// What is added to logits of a slot, in thousandths.
constexpr uint32_t SHIFTS = 300;
struct Shift {
  uint32_t token;
  int32_t milli;
};
struct Shifts {
  uint32_t slot, count;
  Shift of[SHIFTS];
};
struct Input {
  Row rows[256];
  uint32_t wipes[64];
  Shifts told;
};

// One block, a thread per row. A fed row brings its token and position; another goes on where its
// slot stands, with the token that was chosen last: that one never left the device.
extern "C" __global__ void begin(const Input* input, const uint32_t* last,
                                 int32_t* slot_positions, uint32_t* tables, Shifts* shifts,
                                 uint32_t* slots, int32_t* positions, uint32_t* tokens,
                                 uint32_t count, uint32_t table_width, uint32_t slot_count,
                                 uint32_t context, uint32_t vocabulary) {
  let_next_start();
  wait_for_previous();
  const uint32_t i = threadIdx.x;
  const Shifts& told = input->told;
  if (told.slot < slot_count) {
    if (i == 0) shifts[told.slot].count = told.count;
    for (uint32_t at = i; at < SHIFTS; at += blockDim.x) shifts[told.slot].of[at] = told.of[at];
  }
  if (i >= count) return;
  const Row row = input->rows[i];
  if (!(row.flags & ACTIVE) || row.slot >= slot_count) {
    positions[i] = -1;
    slots[i] = 0;
    tokens[i] = 0;
    return;
  }
  const uint32_t position =
      row.flags & FEED ? row.position : (uint32_t)(slot_positions[row.slot] + 1);
  const uint32_t token = row.flags & FEED ? row.token : last[row.slot];
  if (row.table_index < table_width)
    tables[(size_t)row.slot * table_width + row.table_index] = row.page;
  if (row.flags & SAMPLE) slot_positions[row.slot] = position;
  positions[i] = position < context ? (int32_t)position : -1;
  slots[i] = row.slot;
  tokens[i] = token < vocabulary ? token : 0;
}

// Grid: rows. Writes the row of the residual stream.
extern "C" __global__ void embed(const uint32_t* tokens, const __nv_bfloat16* table, float* stream,
                                 uint32_t width) {
  let_next_start();
  wait_for_previous();
  const uint32_t row = blockIdx.x;
  const uint4* from = reinterpret_cast<const uint4*>(table + (size_t)tokens[row] * width);
  float4* to = reinterpret_cast<float4*>(stream + (size_t)row * width);
  for (uint32_t i = threadIdx.x; i < width / 8; i += blockDim.x) {
    const uint4 v = from[i];
    to[2 * i] = make_float4(low(v.x), high(v.x), low(v.y), high(v.y));
    to[2 * i + 1] = make_float4(low(v.z), high(v.z), low(v.w), high(v.w));
  }
}

template <class T, class F>
__device__ __forceinline__ T over_block(T value, T* lanes, F combine) {
#pragma unroll
  for (uint32_t d = 16; d > 0; d /= 2) value = combine(value, __shfl_xor_sync(~0u, value, d));
  if (threadIdx.x % 32 == 0) lanes[threadIdx.x / 32] = value;
  __syncthreads();
  value = lanes[threadIdx.x % 32 < blockDim.x / 32 ? threadIdx.x % 32 : 0];
  if (threadIdx.x % 32 >= blockDim.x / 32) value = T{};
#pragma unroll
  for (uint32_t d = 16; d > 0; d /= 2) value = combine(value, __shfl_xor_sync(~0u, value, d));
  return value;
}

// Grid: rows. The residual stream stays as it is; what is added to it is added by the product
// before.
extern "C" __global__ void __launch_bounds__(512)
    rms_norm(const float* stream, const float* weights, uint4* out, uint32_t width,
             uint32_t n_tiles, float epsilon) {
  __shared__ float lanes[32];
  let_next_start();
  wait_for_previous();
  const uint32_t row = blockIdx.x;
  const float4* from = reinterpret_cast<const float4*>(stream + (size_t)row * width);
  const float4* scale = reinterpret_cast<const float4*>(weights);
  float squares = 0;
  for (uint32_t i = threadIdx.x; i < width / 4; i += blockDim.x) {
    const float4 v = from[i];
    squares += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
  }
  squares = over_block(squares, lanes, [](float a, float b) { return a + b; });
  const float factor = rsqrtf(squares / width + epsilon);
  for (uint32_t i = threadIdx.x; i < width / 8; i += blockDim.x) {
    const float4 a = from[2 * i], b = from[2 * i + 1], c = scale[2 * i], d = scale[2 * i + 1];
    out[activation_at(row, 8 * i, n_tiles)] = make_uint4(
        pack(a.x * factor * c.x, a.y * factor * c.y), pack(a.z * factor * c.z, a.w * factor * c.w),
        pack(b.x * factor * d.x, b.y * factor * d.y), pack(b.z * factor * d.z, b.w * factor * d.w));
  }
}

__device__ __forceinline__ float shifted(float logit, int32_t milli) {
  return __fadd_rn(logit, __fdiv_rn((float)milli, 1000.f));
}

// Grid: rows. First the answer's shifts, then the penalties of what it has: both change logits
// where they lie. Sharpness 0: the greatest logit. Otherwise a draw, by docs/spec/engine-ipc.md, of
// weights that take the logits' place, so that each is computed once.
extern "C" __global__ void __launch_bounds__(1024)
    sample(const Row* rows, float* logits, const int32_t* positions, const Shifts* shifts,
           uint16_t* counts, uint32_t* last, uint2* results, uint32_t vocabulary) {
  __shared__ uint64_t sums[3][MOST_WARPS];
  __shared__ uint32_t strange;
  let_next_start();
  if (threadIdx.x == 0) strange = 0;
  __syncthreads();
  wait_for_previous();
  const uint32_t i = blockIdx.x;
  const Row row = rows[i];
  const int32_t position = positions[i];
  if (!(row.flags & SAMPLE) || position < 0) {
    if (threadIdx.x == 0) results[i] = make_uint2(NONE, 0);
    return;
  }
  float* of_row = logits + (size_t)i * vocabulary;
  uint16_t* written = counts + (size_t)row.slot * vocabulary;
  const bool penalised = row.presence != 0 || row.frequency != 0, first = row.flags & FIRST;
  if (row.flags & SHIFTED) {
    const Shifts& own = shifts[row.slot];
    for (uint32_t at = threadIdx.x; at < min(own.count, SHIFTS); at += blockDim.x)
      if (own.of[at].token < vocabulary)
        of_row[own.of[at].token] = shifted(of_row[own.of[at].token], own.of[at].milli);
    __syncthreads();
  }
  uint64_t best = 0;
  bool finite = true;
  for (uint32_t at = threadIdx.x; at < vocabulary; at += blockDim.x) {
    float logit = of_row[at];
    if (penalised && first) written[at] = 0;
    if (penalised && written[at] > 0) {
      logit = shifted(logit, -(row.presence + row.frequency * (int32_t)written[at]));
      of_row[at] = logit;
    }
    finite &= isfinite(logit);
    best = max(best, ordered(logit, at));
  }
  if (!finite) strange = 1;
  best = over_block(best, sums[0], [](uint64_t a, uint64_t b) { return max(a, b); });
  uint32_t token = 0xffffffffu - (uint32_t)best;
  if (row.sharpness > 0 && !strange) {
    const float most = logit_of(best);
    for (uint32_t at = threadIdx.x; at < vocabulary; at += blockDim.x)
      of_row[at] = weight_of(__fmul_rn(__fsub_rn(of_row[at], most), row.sharpness));
    __syncthreads();
    Kept kept = {of_row, vocabulary, sums, 0, NONE};
    token = kept.draw(row.flags >> LIKELIEST_AT, row.shares,
                      (uint64_t)row.drawn_high << 32 | row.drawn_low);
  }
  if (threadIdx.x == 0) {
    last[row.slot] = token;
    if (penalised && written[token] < 0xffff) written[token]++;
    results[i] = make_uint2(token, strange);
  }
}

// Grid: (pages in the list, layers). Zeroes pages that were freed, before anything else in a step.
extern "C" __global__ void wipe(const uint32_t* list, uint4* pages, uint32_t page_count,
                                uint32_t page_size, uint64_t layer_size) {
  let_next_start();
  wait_for_previous();
  const uint32_t page = list[blockIdx.x];
  if (page >= page_count) return;
  uint4* at = pages + blockIdx.y * layer_size + (size_t)page * page_size;
  for (uint32_t i = threadIdx.x; i < page_size; i += blockDim.x) at[i] = make_uint4(0, 0, 0, 0);
}
