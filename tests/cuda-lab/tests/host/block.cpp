// Runs the kernel that chooses tokens, block by block, on the host: its threads are contexts of one
// thread, and go on in turn wherever they wait for each other. Not a GPU: it shows what the source
// computes, not what a compiler for GPUs makes of it, nor that threads wait wherever they must.
//
// In: words `threads, rows, vocabulary`, positions, rows of a step, logits. Out: two words a row,
// then the token that each slot has now.
#include <setjmp.h>
#include <stdio.h>
#include <ucontext.h>
#include <unistd.h>

#include <vector>

#include "cuda_bf16.h"

// Only instructions of GPUs are written as such; none of them changes a number here.
#define volatile(...) ("")
#include "rows.cu"
#undef volatile

Three threadIdx, blockIdx, blockDim, gridDim;

namespace {
constexpr uint32_t MOST = 1024;
struct Thread {
  jmp_buf at;
  ucontext_t first;
  bool started, ended;
  uint64_t word;
  std::vector<char> stack = std::vector<char>(32768);
};
Thread threads[MOST];
ucontext_t home;
struct {
  const Row* rows;
  float* logits;
  const int32_t* positions;
  uint32_t* last;
  uint2* results;
  uint32_t vocabulary, slots;
} given;

// Goes on with another thread.
void go(uint32_t to) {
  threadIdx.x = to;
  if (threads[to].started) _longjmp(threads[to].at, 1);
  threads[to].started = true;
  setcontext(&threads[to].first);
}

// Lets the others of so many neighbours, a power of two, come to the same place.
void wait_for(uint32_t neighbours) {
  const uint32_t me = threadIdx.x, first = me / neighbours * neighbours;
  if (_setjmp(threads[me].at) == 0) go(first + (me + 1) % neighbours);
}

void run() {
  sample(given.rows, given.logits, given.positions, given.last, given.results, given.vocabulary,
         given.slots);
  threads[threadIdx.x].ended = true;
  for (uint32_t to = 0; to < blockDim.x; to++)
    if (!threads[to].ended) go(to);
  setcontext(&home);
}

template <class T>
std::vector<T> read(size_t count) {
  std::vector<T> values(count);
  if (fread(values.data(), sizeof(T), count, stdin) != count) exit(2);
  return values;
}

template <class T>
void write(const std::vector<T>& values) {
  if (fwrite(values.data(), sizeof(T), values.size(), stdout) != values.size()) exit(2);
}
}  // namespace

void __syncthreads() { wait_for(blockDim.x); }

uint64_t exchanged(uint64_t mine, uint32_t distance) {
  threads[threadIdx.x].word = mine;
  wait_for(32);
  const uint64_t other = threads[threadIdx.x ^ distance].word;
  wait_for(32);
  return other;
}

int main() {
  alarm(120);  // threads that wait for one another for ever end as a failure
  const auto head = read<uint32_t>(3);
  const uint32_t count = head[1], vocabulary = head[2];
  blockDim = {head[0], 1, 1}, gridDim = {count, 1, 1};
  const auto positions = read<int32_t>(count);
  const auto rows = read<Row>(count);
  auto logits = read<float>((size_t)count * vocabulary);
  std::vector<uint32_t> last(count, NONE);
  std::vector<uint2> results(count);
  given = {rows.data(),    logits.data(), positions.data(), last.data(),
           results.data(), vocabulary,    count};
  for (blockIdx.x = 0; blockIdx.x < count; blockIdx.x++) {
    for (uint32_t at = 0; at < blockDim.x; at++) {
      Thread& thread = threads[at];
      thread.started = thread.ended = false;
      getcontext(&thread.first);
      thread.first.uc_stack.ss_sp = thread.stack.data();
      thread.first.uc_stack.ss_size = thread.stack.size();
      thread.first.uc_link = nullptr;
      makecontext(&thread.first, run, 0);
    }
    threadIdx = {0, 0, 0};
    threads[0].started = true;
    swapcontext(&home, &threads[0].first);
  }
  write(results);
  write(last);
}
