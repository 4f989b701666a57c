// How a token is drawn from a row of logits: docs/spec/engine-ipc.md, Sampling, to the bit what the
// engine on processors draws from the same logits.
//
// Sums are of whole numbers, so that neither the number of threads nor their order changes a draw.
// Nothing is sorted: which tokens are kept follows from a least weight, found two bits at a time.
#pragma once
#include "packed.cuh"

constexpr uint32_t MOST_WARPS = 32;  // of the block that draws; at least 2

// A logit with its place, as one number that orders like the logit and then like the lower place.
// Zeroes are one number, whatever their sign.
__device__ __forceinline__ uint64_t ordered(float logit, uint32_t at) {
  const uint32_t bits = __float_as_uint(__fadd_rn(logit, 0.f));
  const uint32_t key = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return (uint64_t)key << 32 | (0xffffffffu - at);
}

__device__ __forceinline__ float logit_of(uint64_t ordered) {
  const uint32_t key = ordered >> 32;
  return __uint_as_float(key & 0x80000000u ? key & 0x7fffffffu : ~key);
}

// e^x for an x that is not above 0, to the bit what the engine on processors takes for it (float.rs
// of its kernels): no multiplication is fused with an addition.
__device__ __forceinline__ float weight_of(float x) {
  constexpr float ROUND = 12582912.f, LOG2_E = 1.44269504f;
  const float shifted = __fadd_rn(__fmul_rn(x, LOG2_E), ROUND);
  const float n = __fsub_rn(shifted, ROUND);
  const float r = __fsub_rn(__fsub_rn(x, __fmul_rn(n, 0.6933594f)), __fmul_rn(n, -2.1219444e-4f));
  float p = 1.9875691e-4f;
  p = __fadd_rn(__fmul_rn(p, r), 1.3982e-3f);
  p = __fadd_rn(__fmul_rn(p, r), 8.333452e-3f);
  p = __fadd_rn(__fmul_rn(p, r), 4.1665796e-2f);
  p = __fadd_rn(__fmul_rn(p, r), 0.16666665f);
  p = __fadd_rn(__fmul_rn(p, r), 0.5f);
  const float value = __fadd_rn(__fadd_rn(__fmul_rn(__fmul_rn(p, r), r), r), 1.f);
  const uint32_t exponent = __float_as_uint(shifted) - __float_as_uint(ROUND) + 127;
  return x < -87.f ? 0.f : __fmul_rn(value, __uint_as_float(exponent << 23));
}

// A weight as a whole number, so that sums are the same in every order. Of 2^20 tokens they stay
// below 2^61.
__device__ __forceinline__ uint64_t units(float weight) {
  return (uint64_t)__fmul_rn(weight, 1099511627776.f);
}

// The tokens of a row that may be drawn: those heavier than `least`, and of those that weigh just
// that, all up to token `last`. Weights are not negative, so their bits order as they do.
struct Kept {
  const float* weights;
  uint32_t vocabulary;
  uint64_t (*sums)[MOST_WARPS];  // room of the block
  uint32_t least, last;

  __device__ __forceinline__ bool holds(uint32_t bits, uint32_t at) const {
    return bits > least || (bits == least && at <= last);
  }

  // Over all kept tokens, those with at least each of three weights: how many, or how heavy.
  template <bool COUNT>
  __device__ void measure(const uint32_t (&from)[3], uint64_t (&out)[3]) const {
    const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    uint64_t sum[3] = {};
    for (uint32_t at = threadIdx.x; at < vocabulary; at += blockDim.x) {
      const uint32_t bits = __float_as_uint(weights[at]);
      if (bits < from[0] || !holds(bits, at)) continue;
      const uint64_t value = COUNT ? 1 : units(weights[at]);
      sum[0] += value;
      sum[1] += bits >= from[1] ? value : 0;
      sum[2] += bits >= from[2] ? value : 0;
    }
#pragma unroll
    for (uint32_t i = 0; i < 3; i++) {
      for (uint32_t d = 16; d > 0; d /= 2) sum[i] += __shfl_xor_sync(~0u, sum[i], d);
      if (lane == 0) sums[i][warp] = sum[i];
    }
    __syncthreads();
#pragma unroll
    for (uint32_t i = 0; i < 3; i++) {
      out[i] = lane < blockDim.x / 32 ? sums[i][lane] : 0;
      for (uint32_t d = 16; d > 0; d /= 2) out[i] += __shfl_xor_sync(~0u, out[i], d);
    }
    __syncthreads();
  }

  template <bool COUNT>
  __device__ uint64_t all() const {
    uint64_t out[3];
    measure<COUNT>({0, NONE, NONE}, out);
    return out[0];
  }

  // The first token at which the running sum of `value(bits, token)` is as much as is wanted: the
  // warps sum a part each, and what is left is the part in which that happens.
  template <class F>
  __device__ uint32_t reach(uint64_t wanted, F value) const {
    const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
    uint32_t from = 0, length = vocabulary;
    while (length > 1) {
      const uint32_t part = (length + warps - 1) / warps;
      const uint32_t end = min((warp + 1) * part, length);
      uint64_t sum = 0;
      for (uint32_t i = warp * part + lane; i < end; i += 32)
        sum += value(__float_as_uint(weights[from + i]), from + i);
      for (uint32_t d = 16; d > 0; d /= 2) sum += __shfl_xor_sync(~0u, sum, d);
      if (lane == 0) sums[0][warp] = sum;
      __syncthreads();
      uint32_t found = 0;
      while ((found + 1) * part < length && sums[0][found] < wanted) wanted -= sums[0][found++];
      __syncthreads();
      from += found * part;
      length = min(part, length - found * part);
    }
    return from;
  }

  // Keeps the fewest of the heaviest, ties by token, that are, or weigh, as much as is wanted: at
  // least 1, at most all. The least weight is found two bits at a time: no sorting.
  template <bool COUNT>
  __device__ void narrow(uint64_t wanted) {
    uint32_t found = 0;
    uint64_t heavier = 0;  // those above what `found` can still become
    for (int shift = 28; shift >= 0; shift -= 2) {
      uint64_t sum[3];
      measure<COUNT>({found + (1u << shift), found + (2u << shift), found + (3u << shift)}, sum);
      uint32_t digit = 0;
      while (digit < 3 && sum[digit] >= wanted) digit++;
      if (digit < 3) heavier = sum[digit];
      found += digit << shift;
    }
    const uint64_t each = COUNT ? 1 : units(__uint_as_float(found));
    const uint64_t ties = each > 0 ? (wanted - heavier + each - 1) / each : 1;
    last = reach(ties, [&](uint32_t bits, uint32_t at) -> uint64_t {
      return bits == found && holds(bits, at);
    });
    least = found;
  }

  // What the row asks for: those not below a part of the heaviest, then so many, then those that
  // make up a share of what is left; and of these, in the order of tokens or of weights where they
  // were put in order, the first at which the running sum exceeds the part that was drawn.
  __device__ uint32_t draw(uint32_t likeliest, uint32_t shares, uint64_t drawn) {
    const uint32_t top_p = shares & 0xffff, min_p = shares >> 16;
    least = __float_as_uint(__fdiv_rn(min_p, 1000.f));
    last = NONE;
    const bool cuts = likeliest > 0 && likeliest < all<true>();
    if (cuts) narrow<true>(likeliest);
    uint64_t whole = all<false>();
    if (top_p < 1000) {
      narrow<false>(whole / 1000 * top_p + (whole % 1000 * top_p + 999) / 1000);
      whole = all<false>();
    }
    const uint64_t wanted = __umul64hi(whole, drawn & ~0x7ffull) + 1;
    if (cuts || top_p < 1000) {
      narrow<false>(wanted);
      return last;
    }
    return reach(wanted, [&](uint32_t bits, uint32_t at) {
      return holds(bits, at) ? units(__uint_as_float(bits)) : 0;
    });
  }
};
