// fmaf for QEMU, which calls it for each lane of a guest's fused products. libm's own either holds a
// VEX-encoded instruction, which stops some processors for a hundred nanoseconds between SSE code and
// translated code that left upper halves of registers in use, or sets the rounding mode twice.
//
// A product of floats is exact as a double. The sum is rounded to odd: where it is not exact, its last
// bit is 1, so that rounding it to a float once more gives what one rounding would have given (Boldo
// and Melquiond, "Emulation of FMA and correctly rounded sums", 2008). For the nearest mode, the only
// one in which QEMU asks.
#include <math.h>
#include <stdint.h>
#include <string.h>

static float fused(float x, float y, float z) {
  double product = (double)x * y, sum = product + z;
  double part = sum - product;
  double error = (product - (sum - part)) + (z - part);
  uint64_t bits;
  memcpy(&bits, &sum, sizeof bits);
  // Of an infinite sum and of a NaN, the error is a NaN, and neither more nor less than zero.
  if ((error > 0 || error < 0) && !(bits & 1)) {
    bits += (error > 0) == (sum > 0) ? 1 : -1;
    memcpy(&sum, &bits, sizeof bits);
  }
  return (float)sum;
}

#ifndef CHECK
float fmaf(float x, float y, float z) { return fused(x, y, z); }
#else
// Ends with 1 if libm's says otherwise: about edges, and about a million others, of which half nearly
// cancel and a quarter lie where rounding twice would be seen.
static float of(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static int differ(uint32_t x, uint32_t y, uint32_t z) {
  float ours = fused(of(x), of(y), of(z)), theirs = fmaf(of(x), of(y), of(z));
  return memcmp(&ours, &theirs, sizeof ours) != 0 && !(isnan(ours) && isnan(theirs));
}

int main(void) {
  static const uint32_t edges[] = {0,          1,          0x7fffff,   0x800000,   0xffffff,
                                   0x33800000, 0x34000000, 0x3effffff, 0x3f800000, 0x3f800001,
                                   0x7f7fffff, 0x7f800000, 0x7fc00000};
  enum { COUNT = sizeof edges / sizeof *edges };
  for (int at = 0; at < COUNT * COUNT * COUNT; at++)
    for (uint32_t signs = 0; signs < 8; signs++)
      if (differ(edges[at % COUNT] | signs << 31, edges[at / COUNT % COUNT] | signs >> 1 << 31,
                 edges[at / COUNT / COUNT] | signs >> 2 << 31))
        return 1;
  uint64_t state = 1;
  for (int count = 0; count < 1000000; count++) {
    uint32_t words[4];
    for (int at = 0; at < 4; at++) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      words[at] = state >> 32;
    }
    if (count % 4 == 2) {
      // Next to the middle between two floats: half of z's last bit, times 1 - 2^-46.
      uint32_t one = 100 + words[0] % 28, other = 100 + words[1] % 28;
      words[0] = (words[0] & 0x80000000) | one << 23 | 1;
      words[1] = (words[1] & 0x80000000) | other << 23 | 0x7ffffe;
      words[2] = (words[2] & 0x807fffff) | (one + other - 102) << 23;
    } else if (count & 1) {
      float product = of(words[0]) * of(words[1]);
      uint32_t near;
      memcpy(&near, &product, sizeof near);
      words[2] = near ^ (words[2] & 0x80000007) ^ (words[3] % 48 << 23) * (count >> 1 & 1);
    }
    if (differ(words[0], words[1], words[2]))
      return 1;
  }
  return 0;
}
#endif
