//! Attention's two loops over a run: each query has a vector of sums, up to twelve queries share
//! what is read, and f16 become floats where they are used. The chains are those of the plain
//! loops.
#![allow(unsafe_code, reason = "the call into a target feature")]
#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tensor loops: slices are cut to size at the top of each function"
)]

use std::arch::x86_64::{
    __m512, _mm256_add_ps, _mm256_setzero_ps, _mm256_storeu_ps, _mm512_castps512_ps256,
    _mm512_extractf32x8_ps, _mm512_fmadd_ps, _mm512_max_ps, _mm512_mul_ps, _mm512_set1_ps,
    _mm512_setzero_ps,
};

use super::super::attention::{
    Ahead, AllQueries, BESIDE, HeadRun, NOTHING_SEEN, RUN, RunInHand, RunLoops, SPAN, greatest_of,
    only_seen,
};
use super::super::float::{exp, reduce};
use super::{Avx512, load_floats, lowered, store};

impl RunLoops for Avx512 {
    // A product reads one element of all queries: from one pointer, at constant distances.
    #[inline(always)]
    fn place(self, all: AllQueries, query: usize, block: usize) -> usize {
        (block * all.count + query) * BESIDE
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

    fn weights(self, scores: &mut [f32], within: (usize, usize), raise: f32) -> (f32, f32) {
        if !only_seen(scores, within) {
            return NOTHING_SEEN;
        }
        // SAFETY: as above.
        unsafe { weights_of_seen(scores, raise) }
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
                &queries[query * BESIDE..],
                &mut scores[query * SPAN..],
                |halves| lowered(halves),
            ));
        }
        HeadRun::Single(floats) => {
            let (vectors, _) = floats.as_chunks::<BESIDE>();
            in_dozens!(all.count, keys.next, |query, N, ahead| scores_of::<N, _>(
                (all, ahead),
                vectors,
                &queries[query * BESIDE..],
                &mut scores[query * SPAN..],
                |floats| load_floats(floats),
            ));
        }
    }
}

#[inline]
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
fn scores_of<const N: usize, T>(
    (all, mut ahead): (AllQueries, Ahead),
    keys: &[[T; BESIDE]],
    queries: &[f32],
    scores: &mut [f32],
    widen: impl Fn(&[T; BESIDE]) -> __m512,
) {
    for (beside, keys) in keys[..all.head * 2].chunks_exact(all.head).enumerate() {
        let mut sums = [_mm512_setzero_ps(); N];
        let blocks = queries.chunks(all.count * BESIDE);
        for (keys, queries) in keys.chunks(BESIDE).zip(blocks) {
            let queries = &queries[..N * BESIDE];
            ahead.ask_for(size_of_val(keys));
            ahead = ahead.behind(size_of_val(keys));
            for (element, keys) in keys.iter().enumerate().take(BESIDE) {
                let keys = widen(keys);
                for n in 0..N {
                    let query = _mm512_set1_ps(queries[n * BESIDE + element]);
                    sums[n] = _mm512_fmadd_ps(query, keys, sums[n]);
                }
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
    (all, mut ahead): (AllQueries, Ahead),
    values: &[[T; BESIDE]],
    weights: &[f32],
    sums: &mut [f32],
    widen: impl Fn(&[T; BESIDE]) -> __m512,
) {
    let beside = all.padded / BESIDE;
    let values = &values[..beside * RUN];
    let weights = &weights[..(N - 1) * SPAN + RUN];
    for block in 0..beside {
        let mut mixed = [_mm512_setzero_ps(); N];
        for (n, mixed) in mixed.iter_mut().enumerate() {
            let at = n * all.padded + block * BESIDE;
            let (floats, _) = sums[at..at + BESIDE].as_chunks::<BESIDE>();
            *mixed = load_floats(&floats[0]);
        }
        ahead.ask_for(size_of_val(values) / beside);
        ahead = ahead.behind(size_of_val(values) / beside);
        for (position, values) in values.chunks_exact(beside).enumerate().take(RUN) {
            let values = widen(&values[block]);
            for n in 0..N {
                let weight = _mm512_set1_ps(weights[n * SPAN + position]);
                mixed[n] = _mm512_fmadd_ps(weight, values, mixed[n]);
            }
        }
        for (n, mixed) in mixed.into_iter().enumerate() {
            let at = n * all.padded + block * BESIDE;
            sums[at..at + BESIDE].copy_from_slice(&store(mixed));
        }
    }
}

/// Weights as `attention::weights` makes and adds them, sixteen at a time.
#[target_feature(enable = "avx512bw,avx512dq,avx512vl,avx512vnni")]
fn weights_of_seen(scores: &mut [f32], raise: f32) -> (f32, f32) {
    let (sixteens, _) = scores.as_chunks_mut::<BESIDE>();
    let mut greatest = _mm512_set1_ps(f32::NEG_INFINITY);
    for sixteen in sixteens.iter() {
        greatest = _mm512_max_ps(load_floats(sixteen), greatest);
    }
    let greatest = greatest_of(&store(greatest));
    let mut sums = _mm256_setzero_ps();
    for sixteen in sixteens {
        let mut weights = [0.0; BESIDE];
        for (weight, score) in weights.iter_mut().zip(sixteen.iter()) {
            *weight = exp(score - greatest);
        }
        let weights = load_floats(&weights);
        sums = _mm256_add_ps(sums, _mm512_castps512_ps256(weights));
        sums = _mm256_add_ps(sums, _mm512_extractf32x8_ps::<1>(weights));
        *sixteen = store(_mm512_mul_ps(weights, _mm512_set1_ps(raise)));
    }
    let mut lanes = [0.0; 8];
    // SAFETY: the array is eight writable floats, and the store asks for no alignment.
    unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), sums) };
    (greatest, reduce(lanes))
}
