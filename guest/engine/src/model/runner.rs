//! One step of the transformer: rows of any sequences in, hidden states and logits out.
//!
//! The order of a step is here, each part of it in `forward`.

use std::num::NonZeroUsize;

use zeroize::Zeroizing;

use super::Weights;
use super::cache::KvCache;
use super::forward::{Forward, Row, Slot, Task};
use super::team::{Team, with_team};
use crate::kernels::{Kernels, TILE, normalize, quantize};

/// Runs steps over up to a fixed number of sequences.
pub(crate) struct Runner<'a, 'w> {
    team: &'a Team<'a, Forward<'w>>,
    forward: &'a Forward<'w>,
}

/// Runs `body` with a team of threads over these weights; everything is wiped at the end.
pub(crate) fn with_runner<'w, R>(
    weights: &'w Weights,
    kernels: Kernels,
    threads: NonZeroUsize,
    body: impl FnOnce(Runner<'_, 'w>) -> R,
) -> R {
    let forward = Forward::new(weights, kernels, threads.get());
    let result = with_team(&forward, threads, |team| {
        body(Runner {
            team,
            forward: &forward,
        })
    });
    forward.wipe();
    result
}

impl Runner<'_, '_> {
    /// An empty cache for a new sequence.
    pub(crate) fn open(&mut self) -> Slot {
        let mut state = self.forward.write();
        let free = state.caches.iter().position(Option::is_none);
        let free = free.unwrap_or(state.caches.len());
        match state.caches.get_mut(free) {
            Some(cache) => *cache = Some(KvCache::default()),
            None => state.caches.push(Some(KvCache::default())),
        }
        Slot(free)
    }

    /// Wipes and frees a sequence's cache; with the last one, the buffers of the steps too.
    pub(crate) fn close(&mut self, slot: Slot) {
        let mut state = self.forward.write();
        if let Some(cache) = state.caches.get_mut(slot.0) {
            *cache = None;
        }
        let idle = state.caches.iter().all(Option::is_none);
        drop(state);
        if idle {
            self.forward.wipe();
        }
    }

    /// Computes the rows of a step; earlier positions of a sequence stand before later ones.
    pub(crate) fn step(&mut self, rows: &[Row]) {
        self.forward.begin(rows);
        for layer in 0..self.forward.weights.layers.len() {
            self.forward.before_attention(layer);
            self.team.run(Task::QueryKeyValue(layer));
            self.forward.rotate_and_store(layer);
            self.team.run(Task::Attend(layer));
            self.forward.after_attention();
            self.team.run(Task::Output(layer));
            self.forward.before_inner(layer);
            self.team.run(Task::GateUp(layer));
            self.forward.between_inner(layer);
            self.team.run(Task::Down(layer));
            self.forward.after_inner();
        }
    }

    /// The hidden state of a row of the last step, ready for [`Runner::logits`].
    pub(crate) fn hidden(&self, row: usize) -> Zeroizing<Vec<f32>> {
        let state = self.forward.read();
        let weights = self.forward.weights;
        let width = weights.shape.width;
        let mut hidden = Zeroizing::new(Vec::with_capacity(width));
        if let Some(stream) = state.stream.chunks_exact(width).nth(row) {
            normalize(stream, &weights.norm, weights.shape.epsilon, &mut hidden);
        }
        hidden
    }

    /// One logit per token of the vocabulary, for each hidden state.
    pub(crate) fn logits<'h>(
        &mut self,
        hidden: impl Iterator<Item = &'h [f32]>,
    ) -> Vec<Zeroizing<Vec<f32>>> {
        let mut state = self.forward.write();
        state.input.clear();
        hidden.for_each(|hidden| quantize(hidden, &mut state.input));
        drop(state);
        self.team.run(Task::Head);
        let mut state = self.forward.write();
        self.forward
            .gather_products(&mut state, self.forward.weights.head().tiles());
        let vocabulary = self.forward.weights.shape.vocabulary;
        let stride = vocabulary.next_multiple_of(TILE);
        let rows = state.products.chunks_exact(stride);
        let rows = rows.map(|row| row.get(..vocabulary).unwrap_or_default().to_vec());
        rows.map(Zeroizing::new).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Tiny;

    #[test]
    fn when_the_last_sequence_is_closed_every_buffer_of_the_steps_is_wiped() {
        let model = Tiny::default().model();
        let threads = NonZeroUsize::MIN;
        with_runner(&model.weights, model.kernels, threads, |mut runner| {
            let (first, second) = (runner.open(), runner.open());
            let row = |slot| Row {
                slot,
                token: 65,
                position: 0,
            };
            runner.step(&[row(first), row(second)]);
            let held = |runner: &Runner<'_, '_>| {
                let state = runner.forward.read();
                let buffers = [state.stream.len(), state.query.len(), state.products.len()];
                buffers.iter().sum::<usize>() + state.input.len() + state.rows.len()
            };
            runner.close(first);
            assert!(held(&runner) > 0, "another sequence still needs them");
            runner.close(second);
            assert_eq!(held(&runner), 0);
        });
    }
}
