//! Attention of a few rows over one span of positions, and how spans are put together.
//!
//! Spans start at fixed positions, so what is added to what depends on a row's own position and
//! on nothing else: not on other rows, threads or how a prompt was cut. Keys lie transposed, so
//! that a vector holds one element of sixteen positions and no sum crosses lanes. Plain Rust
//! that becomes vectors where `avx2` compiles it; `avx512` has its own two loops over a run.
#![allow(unsafe_code, reason = "asking for memory ahead")]
#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tensor loops: slices are cut to size at the top of each function"
)]

use zeroize::Zeroize;

use super::activation::RAISE;
use super::float::{exp, reduce};
use super::packed::lowered;

/// Positions of a span.
pub(crate) const SPAN: usize = 256;

/// Positions whose keys stand beside each other, element by element; and the elements to which a
/// position's values are padded.
pub(crate) const BESIDE: usize = 16;

/// Positions of a run, the part of a page that belongs to one head of one layer.
pub(crate) const RUN: usize = 32;

/// Bytes of a cache line.
const LINE: usize = 64;

/// Queries that a plain loop takes at once.
const QUERIES: usize = 4;

/// Keys or values of one head at 32 positions: keys `[position / 16][element][position % 16]`,
/// values `[position][element, padded to 16]`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum HeadRun<'a> {
    /// As f16.
    Half(&'a [u16]),
    /// As floats.
    Single(&'a [f32]),
}

/// Some queries of one key head, and the positions of one span.
#[derive(Debug)]
pub(crate) struct SpanTask<'a> {
    /// Query after query of `head` elements, row by row.
    pub(crate) queries: &'a [f32],
    /// Width of a head.
    pub(crate) head: usize,
    /// Of each row: how many positions of the span it sees.
    pub(crate) seen: &'a [usize],
    /// Of each row: how many of these, from the first, lie before its window.
    pub(crate) passed: &'a [usize],
    /// What scores are multiplied with.
    pub(crate) scale: f32,
    /// Keys of the span, as far as any row sees.
    pub(crate) keys: &'a [HeadRun<'a>],
    /// Values of the same positions.
    pub(crate) values: &'a [HeadRun<'a>],
}

/// Buffers of a thread.
#[derive(Debug, Default)]
pub(crate) struct SpanScratch {
    queries: Vec<f32>,
    run: Vec<f32>,
    scores: Vec<f32>,
    sums: Vec<f32>,
}

impl Zeroize for SpanScratch {
    fn zeroize(&mut self) {
        self.queries.zeroize();
        self.run.zeroize();
        self.scores.zeroize();
        self.sums.zeroize();
    }
}

/// Floats that a query leaves per span: its greatest score, its sum of weights, its mixed values.
pub(crate) const fn span_floats(head: usize) -> usize {
    head.saturating_add(2)
}

/// What the loops over a run know of all queries.
#[derive(Debug, Clone, Copy)]
pub(super) struct AllQueries {
    /// How many.
    pub(super) count: usize,
    /// Width of a head, and what it is padded to among values.
    pub(super) head: usize,
    pub(super) padded: usize,
}

/// A run of keys or of values, and what is read after it.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunInHand<'a> {
    pub(super) run: HeadRun<'a>,
    pub(super) next: Ahead,
}

/// The two loops that take most of the time, over a run's 32 positions. A score is a chain of
/// fused products in the order of elements, a mixed value one in the order of positions.
pub(super) trait RunLoops: Copy {
    /// Where a query's block of sixteen elements begins among what `scores` takes.
    fn place(self, all: AllQueries, query: usize, block: usize) -> usize;

    /// Writes the scores of query `n` from `n * SPAN` on; `floats` has room for the run.
    fn scores(
        self,
        all: AllQueries,
        keys: RunInHand<'_>,
        floats: &mut [f32],
        queries: &[f32],
        scores: &mut [f32],
    );

    /// Adds values, weighted for query `n` by what stands from `n * SPAN` on, to
    /// `[query][element, padded]`.
    fn mix(
        self,
        all: AllQueries,
        values: RunInHand<'_>,
        floats: &mut [f32],
        weights: &[f32],
        sums: &mut [f32],
    );

    /// See [`weights`].
    #[inline(always)]
    fn weights(self, scores: &mut [f32], within: (usize, usize), raise: f32) -> (f32, f32) {
        weights(scores, within, raise)
    }
}

/// What is read after the run in hand: pages lie apart in memory, and a processor's own prefetching
/// does not guess where the next one is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ahead(Option<*const u8>);

impl Ahead {
    #[inline(always)]
    fn of(run: Option<&HeadRun<'_>>) -> Self {
        Self(run.map(|run| match run {
            HeadRun::Half(halves) => halves.as_ptr().cast(),
            HeadRun::Single(floats) => floats.as_ptr().cast(),
        }))
    }

    /// Nothing: it was asked for.
    pub(super) const NOTHING: Self = Self(None);

    /// What stands so many bytes further.
    #[inline(always)]
    pub(super) fn behind(self, bytes: usize) -> Self {
        Self(self.0.map(|start| start.wrapping_add(bytes)))
    }

    /// Asks for so many bytes.
    #[inline(always)]
    pub(super) fn ask_for(self, bytes: usize) {
        (0..bytes).step_by(LINE).for_each(|at| self.ask(at));
    }

    /// Asks for what stands so many bytes behind its start.
    #[inline(always)]
    pub(super) fn ask(self, bytes: usize) {
        #[cfg(target_arch = "x86_64")]
        if let Some(start) = self.0 {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let address = start.wrapping_add(bytes);
            // SAFETY: every x86-64 processor has SSE. Any address will do: nothing is read, and one
            // that is not mapped is passed over.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _nothing_to_ask = (self, bytes);
    }
}

/// For each query, writes [`span_floats`] to `out`; in plain Rust.
#[inline(always)]
pub(super) fn span(task: &SpanTask<'_>, scratch: &mut SpanScratch, out: &mut [f32]) {
    span_by(PlainLoops, task, scratch, out);
}

/// The same with these loops.
#[inline(always)]
pub(super) fn span_by(
    loops: impl RunLoops,
    task: &SpanTask<'_>,
    scratch: &mut SpanScratch,
    out: &mut [f32],
) {
    let head = task.head;
    let count = task.queries.len() / head;
    let group = count / task.seen.len().max(1);
    let padded = head.next_multiple_of(BESIDE);
    let all = AllQueries {
        count,
        head,
        padded,
    };
    let raise = match task.keys.first() {
        Some(HeadRun::Half(_)) => RAISE,
        Some(HeadRun::Single(_)) | None => 1.0,
    };
    scratch.queries.resize(count * padded, 0.0);
    for (query, elements) in task.queries.chunks_exact(head).enumerate() {
        for (block, elements) in elements.chunks(BESIDE).enumerate() {
            let places = &mut scratch.queries[loops.place(all, query, block)..];
            for (place, value) in places.iter_mut().zip(elements) {
                *place = value * task.scale * raise;
            }
        }
    }
    scratch.run.resize(padded * RUN, 0.0);
    scratch.scores.resize(count * SPAN, 0.0);
    scratch.sums.clear();
    scratch.sums.resize(count * padded, 0.0);
    for (at, keys) in task.keys.iter().enumerate() {
        let next = Ahead::of(task.keys.get(at + 1).or(task.values.first()));
        let keys = RunInHand { run: *keys, next };
        let scores = &mut scratch.scores[at * RUN..];
        loops.scores(all, keys, &mut scratch.run, &scratch.queries, scores);
    }
    let width = task.keys.len() * RUN;
    for query in 0..count {
        let scores = &mut scratch.scores[query * SPAN..][..width];
        let row = query / group;
        let within = (task.passed[row], task.seen[row]);
        let (greatest, sum) = loops.weights(scores, within, raise);
        let out = &mut out[query * span_floats(head)..];
        out[0] = greatest;
        out[1] = sum;
    }
    for (at, values) in task.values.iter().enumerate() {
        let next = Ahead::of(task.values.get(at + 1));
        let values = RunInHand { run: *values, next };
        let weights = &scratch.scores[at * RUN..];
        loops.mix(all, values, &mut scratch.run, weights, &mut scratch.sums);
    }
    for query in 0..count {
        let out = &mut out[query * span_floats(head) + 2..][..head];
        out.copy_from_slice(&scratch.sums[query * padded..][..head]);
    }
}

/// The loops in plain Rust.
#[derive(Debug, Clone, Copy)]
struct PlainLoops;

impl RunLoops for PlainLoops {
    #[inline(always)]
    fn place(self, all: AllQueries, query: usize, block: usize) -> usize {
        query * all.padded + block * BESIDE
    }

    #[inline(always)]
    fn scores(
        self,
        all: AllQueries,
        keys: RunInHand<'_>,
        floats: &mut [f32],
        queries: &[f32],
        scores: &mut [f32],
    ) {
        let keys = widen(keys, &mut floats[..all.head * RUN]);
        let mut query = 0;
        while query < all.count {
            let (queries, scores) = (&queries[query * all.padded..], &mut scores[query * SPAN..]);
            match all.count - query {
                1 => scores_of::<1>(all, keys, queries, scores),
                2 => scores_of::<2>(all, keys, queries, scores),
                3 => scores_of::<3>(all, keys, queries, scores),
                _ => scores_of::<QUERIES>(all, keys, queries, scores),
            }
            query += QUERIES;
        }
    }

    #[inline(always)]
    fn mix(
        self,
        all: AllQueries,
        values: RunInHand<'_>,
        floats: &mut [f32],
        weights: &[f32],
        sums: &mut [f32],
    ) {
        let padded = all.padded;
        let values = widen(values, &mut floats[..padded * RUN]);
        let mut query = 0;
        while query < all.count {
            let (weights, sums) = (&weights[query * SPAN..], &mut sums[query * padded..]);
            match all.count - query {
                1 => mix::<1>(weights, values, sums, padded),
                2 => mix::<2>(weights, values, sums, padded),
                3 => mix::<3>(weights, values, sums, padded),
                _ => mix::<QUERIES>(weights, values, sums, padded),
            }
            query += QUERIES;
        }
    }
}

/// A run as floats, those of f16 2^112 times too small. Asks for the next one first.
#[inline(always)]
fn widen<'a>(hand: RunInHand<'a>, out: &'a mut [f32]) -> &'a [f32] {
    match hand.run {
        HeadRun::Half(halves) => {
            hand.next.ask_for(size_of_val(halves));
            for (out, half) in out.iter_mut().zip(halves) {
                *out = lowered(*half);
            }
            out
        }
        HeadRun::Single(floats) => {
            hand.next.ask_for(size_of_val(floats));
            &floats[..out.len()]
        }
    }
}

/// Scores of N queries at the 32 positions of a run.
#[inline(always)]
fn scores_of<const N: usize>(all: AllQueries, keys: &[f32], queries: &[f32], scores: &mut [f32]) {
    let head = all.head;
    let queries: [&[f32]; N] = std::array::from_fn(|n| &queries[n * all.padded..][..head]);
    for (beside, keys) in keys.chunks_exact(head * BESIDE).enumerate() {
        let (keys, _) = keys.as_chunks::<BESIDE>();
        let mut sums = [[0.0_f32; BESIDE]; N];
        for (element, keys) in keys.iter().enumerate().take(head) {
            for n in 0..N {
                let query = queries[n][element];
                for lane in 0..BESIDE {
                    sums[n][lane] = query.mul_add(keys[lane], sums[n][lane]);
                }
            }
        }
        for n in 0..N {
            scores[n * SPAN + beside * BESIDE..][..BESIDE].copy_from_slice(&sums[n]);
        }
    }
}

/// What a query leaves that sees nothing of a span: a greatest score and a sum.
pub(super) const NOTHING_SEEN: (f32, f32) = (f32::NEG_INFINITY, 0.0);

/// Leaves nothing of scores that are not seen; of all of them, no weight, and says so by `false`.
#[inline(always)]
pub(super) fn only_seen(scores: &mut [f32], (passed, seen): (usize, usize)) -> bool {
    let seen = seen.min(scores.len());
    if passed >= seen {
        scores.fill(0.0);
        return false;
    }
    scores[..passed].fill(f32::NEG_INFINITY);
    scores[seen..].fill(f32::NEG_INFINITY);
    true
}

/// Makes scores into weights `exp(score - greatest) * raise`; those that are not seen weigh
/// nothing. Returns the greatest score and the sum of weights, not raised: eight after eight.
#[inline(always)]
fn weights(scores: &mut [f32], within: (usize, usize), raise: f32) -> (f32, f32) {
    if !only_seen(scores, within) {
        return NOTHING_SEEN;
    }
    let (eights, _) = scores.as_chunks_mut::<8>();
    let mut greatest = [f32::NEG_INFINITY; 8];
    for eight in eights.iter() {
        for lane in 0..8 {
            greatest[lane] = if eight[lane] > greatest[lane] {
                eight[lane]
            } else {
                greatest[lane]
            };
        }
    }
    let greatest = greatest_of(&greatest);
    let mut sums = [0.0_f32; 8];
    for eight in eights {
        for lane in 0..8 {
            let weight = exp(eight[lane] - greatest);
            sums[lane] += weight;
            eight[lane] = weight * raise;
        }
    }
    (greatest, reduce(sums))
}

#[inline(always)]
pub(super) fn greatest_of(lanes: &[f32]) -> f32 {
    let least = f32::NEG_INFINITY;
    lanes.iter().fold(least, |most, lane| most.max(*lane))
}

/// Adds the values of a run, weighted, to the sums of N queries.
#[inline(always)]
fn mix<const N: usize>(weights: &[f32], values: &[f32], sums: &mut [f32], padded: usize) {
    let weights: [&[f32]; N] = std::array::from_fn(|n| &weights[n * SPAN..][..RUN]);
    for block in (0..padded).step_by(BESIDE) {
        let mut mixed = [[0.0_f32; BESIDE]; N];
        for n in 0..N {
            mixed[n].copy_from_slice(&sums[n * padded + block..][..BESIDE]);
        }
        for (position, values) in values.chunks_exact(padded).enumerate().take(RUN) {
            let values = &values[block..][..BESIDE];
            for n in 0..N {
                let weight = weights[n][position];
                for lane in 0..BESIDE {
                    mixed[n][lane] = weight.mul_add(values[lane], mixed[n][lane]);
                }
            }
        }
        for n in 0..N {
            sums[n * padded + block..][..BESIDE].copy_from_slice(&mixed[n]);
        }
    }
}

/// Puts what a query's spans left together, in their order; appends `head` floats.
pub(crate) fn merge_spans<'a>(
    spans: impl Iterator<Item = &'a [f32]> + Clone,
    head: usize,
    out: &mut Vec<f32>,
) {
    let greatest = spans
        .clone()
        .fold(f32::NEG_INFINITY, |most, span| most.max(span[0]));
    let start = out.len();
    out.resize(start + head, 0.0);
    let mixed = &mut out[start..];
    let mut sum = 0.0;
    for span in spans {
        let factor = exp(span[0] - greatest);
        sum += span[1] * factor;
        for (mixed, value) in mixed.iter_mut().zip(&span[2..]) {
            *mixed += value * factor;
        }
    }
    let factor = 1.0 / sum;
    mixed.iter_mut().for_each(|mixed| *mixed *= factor);
}
