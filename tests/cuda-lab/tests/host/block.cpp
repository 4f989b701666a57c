// Runs the kernel that chooses tokens, block by block, on the host: its threads are contexts of one
// thread, and go on in turn wherever they wait for each other. Not a GPU: it shows what the source
// computes, not what a compiler for GPUs makes of it, nor that threads wait wherever they must.
//
// In: words `threads, rows, vocabulary`, then for each step its input and logits of its rows. Out,
// for each step: two words a row, the token that each slot has now, what became of the logits.
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
// What a step works on; a slot for each row.
struct {
  Input input;
  uint32_t vocabulary;
  std::vector<float> logits;
  std::vector<int32_t> slot_positions, positions;
  std::vector<uint32_t> last, tables, slots, tokens;
  std::vector<Shifts> shifts;
  std::vector<uint16_t> counts;
  std::vector<uint2> results;
} work;

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
  sample(work.input.rows, work.logits.data(), work.positions.data(), work.shifts.data(),
         work.counts.data(), work.last.data(), work.results.data(), work.vocabulary);
  threads[threadIdx.x].ended = true;
  for (uint32_t to = 0; to < blockDim.x; to++)
    if (!threads[to].ended) go(to);
  setcontext(&home);
}

template <class T>
bool read(T* values, size_t count) {
  return fread(values, sizeof(T), count, stdin) == count;
}

template <class T>
void write(const std::vector<T>& values) {
  if (fwrite(values.data(), sizeof(T), values.size(), stdout) != values.size()) exit(2);
}

void start_threads() {
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
  uint32_t head[3];
  if (!read(head, 3)) return 2;
  const uint32_t width = head[0], count = head[1];
  work.vocabulary = head[2];
  // What nobody wrote is not zero.
  work.logits.resize((size_t)count * work.vocabulary);
  work.counts.assign((size_t)count * work.vocabulary, 77);
  for (auto* words : {&work.last, &work.tables, &work.slots, &work.tokens}) words->assign(count, 9);
  for (auto* places : {&work.slot_positions, &work.positions}) places->assign(count, 5);
  work.shifts.resize(count);
  work.results.resize(count);
  while (read(&work.input, 1) && read(work.logits.data(), work.logits.size())) {
    // No thread of this one waits for another.
    blockDim = {256, 1, 1}, blockIdx = {0, 0, 0};
    for (threadIdx = {0, 0, 0}; threadIdx.x < blockDim.x; threadIdx.x++)
      begin(&work.input, work.last.data(), work.slot_positions.data(), work.tables.data(),
            work.shifts.data(), work.slots.data(), work.positions.data(), work.tokens.data(), count,
            1, count, 1 << 20, work.vocabulary);
    blockDim = {width, 1, 1};
    for (; blockIdx.x < count; blockIdx.x++) start_threads();
    write(work.results);
    write(work.last);
    write(work.logits);
  }
}
