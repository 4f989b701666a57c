//! Attention's two loops over a run: each query has a vector of sums, up to twelve queries share
//! what is read, and f16 become floats where they are used. The chains are those of the plain
//! loops.
#![allow(unsafe_code, reason = "the call into a target feature")]
#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tensor loops: slices are cut to size at the top of each function"
)]

use std::arch::x86_64::{__m512, _mm512_fmadd_ps, _mm512_set1_ps, _mm512_setzero_ps};

use super::super::attention::{
    Ahead, AllQueries, BESIDE, HeadRun, RUN, RunInHand, RunLoops, SPAN, weights,
};
use super::{Avx512, load_floats, lowered, store};

impl RunLoops for Avx512 {
    // A product reads one element of all queries.
    #[inline(always)]
    fn place(self, all: AllQueries, query: usize, element: usize) -> usize {
        element * all.count + query
    }

    fn scores(
        self,
        all: AllQueries,
        keys: RunInHand<'_>,
        _floats: &mut [f32],
        queries: &[f32],
        scores: &mut [f32],
    ) {
        // SAFETY: `self` exists only where the processor reported these features.
        unsafe { scores_of_all(all, keys, queries, scores) };
    }

    fn mix(
        self,
        all: AllQueries,
        values: RunInHand<'_>,
        _floats: &mut [f32],
        weights: &[f32],
        sums: &mut [f32],
    ) {
        // SAFETY: as above.
        unsafe { mix_for_all(all, values, weights, sums) };
    }

    #[inline(always)]
    fn weights(self, scores: &mut [f32], within: (usize, usize), raise: f32) -> (f32, f32) {
        weights::<16>(scores, within, raise)
    }
}

/// Runs a body for twelve queries at a time as long as there are so many, then for fewer. The
/// first one asks for what is read next.
macro_rules! in_dozens {
    ($count:expr, $next:expr, |$query:ident, $n:ident, $ahead:ident| $body:expr) => {{
        let ($query, $ahead) = (&mut 0_usize, &mut { $next });
        while *$query < $count {
            macro_rules! some {
                ($some:literal) => {{
                    const $n: usize = $some;
                    {
                        let ($query, $ahead) = (*$query, *$ahead);
                        $body;
                    }
                    *$query += $n;
                }};
            }
            match $count - *$query {
                1 => some!(1),
                2 => some!(2),
                3 | 5 => some!(3),
                4 => some!(4),
                6..12 => some!(6),
                _ => some!(12),
            }
            *$ahead = Ahead::NOTHING;
        }
    }};
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
fn scores_of_all(all: AllQueries, keys: RunInHand<'_>, queries: &[f32], scores: &mut [f32]) {
    match keys.run {
        HeadRun::Half(halves) => {
            let (vectors, _) = halves.as_chunks::<BESIDE>();
            in_dozens!(all.count, keys.next, |query, N, ahead| scores_of::<N, _>(
                (all, ahead),
                vectors,
                &queries[query..],
                &mut scores[query * SPAN..],
                |halves| lowered(halves),
            ));
        }
        HeadRun::Single(floats) => {
            let (vectors, _) = floats.as_chunks::<BESIDE>();
            in_dozens!(all.count, keys.next, |query, N, ahead| scores_of::<N, _>(
                (all, ahead),
                vectors,
                &queries[query..],
                &mut scores[query * SPAN..],
                |floats| load_floats(floats),
            ));
        }
    }
}

#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
fn scores_of<const N: usize, T>(
    (all, ahead): (AllQueries, Ahead),
    keys: &[[T; BESIDE]],
    queries: &[f32],
    scores: &mut [f32],
    widen: impl Fn(&[T; BESIDE]) -> __m512,
) {
    for (beside, keys) in keys[..all.head * 2].chunks_exact(all.head).enumerate() {
        let mut sums = [_mm512_setzero_ps(); N];
        for (element, (keys, queries)) in keys.iter().zip(queries.chunks(all.count)).enumerate() {
            ahead.ask((beside * all.head + element) * size_of_val(keys));
            let keys = widen(keys);
            let queries = &queries[..N];
            for n in 0..N {
                sums[n] = _mm512_fmadd_ps(_mm512_set1_ps(queries[n]), keys, sums[n]);
            }
        }
        for (n, sums) in sums.into_iter().enumerate() {
            let at = n * SPAN + beside * BESIDE;
            scores[at..at + BESIDE].copy_from_slice(&store(sums));
        }
    }
}

#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
fn mix_for_all(all: AllQueries, values: RunInHand<'_>, weights: &[f32], sums: &mut [f32]) {
    match values.run {
        HeadRun::Half(halves) => {
            let (vectors, _) = halves.as_chunks::<BESIDE>();
            in_dozens!(all.count, values.next, |query, N, ahead| mix::<N, _>(
                (all, ahead),
                vectors,
                &weights[query * SPAN..],
                &mut sums[query * all.padded..],
                |halves| lowered(halves),
            ));
        }
        HeadRun::Single(floats) => {
            let (vectors, _) = floats.as_chunks::<BESIDE>();
            in_dozens!(all.count, values.next, |query, N, ahead| mix::<N, _>(
                (all, ahead),
                vectors,
                &weights[query * SPAN..],
                &mut sums[query * all.padded..],
                |floats| load_floats(floats),
            ));
        }
    }
}

#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
fn mix<const N: usize, T>(
    (all, ahead): (AllQueries, Ahead),
    values: &[[T; BESIDE]],
    weights: &[f32],
    sums: &mut [f32],
    widen: impl Fn(&[T; BESIDE]) -> __m512,
) {
    let beside = all.padded / BESIDE;
    let weights: [&[f32; RUN]; N] =
        std::array::from_fn(|n| weights[n * SPAN..].first_chunk().unwrap_or(&[0.0; RUN]));
    let values = &values[..beside * RUN];
    for block in 0..beside {
        let mut mixed = [_mm512_setzero_ps(); N];
        for (n, mixed) in mixed.iter_mut().enumerate() {
            let at = n * all.padded + block * BESIDE;
            let (floats, _) = sums[at..at + BESIDE].as_chunks::<BESIDE>();
            *mixed = load_floats(&floats[0]);
        }
        for (position, values) in values.chunks_exact(beside).enumerate().take(RUN) {
            let values = &values[block];
            ahead.ask((position * beside + block) * size_of_val(values));
            let values = widen(values);
            for n in 0..N {
                mixed[n] = _mm512_fmadd_ps(_mm512_set1_ps(weights[n][position]), values, mixed[n]);
            }
        }
        for (n, mixed) in mixed.into_iter().enumerate() {
            let at = n * all.padded + block * BESIDE;
            sums[at..at + BESIDE].copy_from_slice(&store(mixed));
        }
    }
}
