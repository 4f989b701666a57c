//! One step of the transformer: rows of any sequences in, hidden states and logits out.
//!
//! The order of a step is here, each part of it in `forward`.

use std::num::NonZeroUsize;

use zeroize::Zeroizing;

use super::Weights;
use super::cache::{KvCache, SharedPage};
use super::experts::ExpertTask;
use super::forward::{Forward, Task};
use super::lanes::RowTask;
use super::rows::{Row, Slot};
use super::team::{Team, with_team};
use crate::kernels::{Kernels, TILE};

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
    /// What it computes with.
    pub(crate) fn weights(&self) -> &Weights {
        self.forward.weights
    }

    /// An empty cache for a new sequence.
    pub(crate) fn open(&mut self) -> Slot {
        self.open_after(Vec::new())
    }

    /// A cache for a new sequence that begins with these pages.
    pub(crate) fn open_after(&mut self, pages: Vec<SharedPage>) -> Slot {
        let mut state = self.forward.write();
        let free = state.caches.iter().position(Option::is_none);
        let free = free.unwrap_or(state.caches.len());
        let new = Some(KvCache::after(pages));
        match state.caches.get_mut(free) {
            Some(cache) => *cache = new,
            None => state.caches.push(new),
        }
        Slot(free)
    }

    /// Wipes and frees a sequence's cache; with the last one, the buffers of the steps too.
    pub(crate) fn close(&mut self, slot: Slot) {
        drop(self.close_keeping(slot, 0));
    }

    /// The same, but for the first pages, at most so many, each of which must be full.
    pub(crate) fn close_keeping(&mut self, slot: Slot, pages: usize) -> Vec<SharedPage> {
        let mut state = self.forward.write();
        let cache = state.caches.get_mut(slot.0).and_then(Option::take);
        let idle = state.caches.iter().all(Option::is_none);
        drop(state);
        if idle {
            self.forward.wipe();
        }
        cache.map_or_else(Vec::new, |cache| cache.into_first(pages))
    }

    /// Computes the rows of a step; earlier positions of a sequence stand before later ones.
    pub(crate) fn step(&mut self, rows: &[Row]) {
        self.forward.begin(rows);
        let one_lane = self.forward.one_lane();
        let rows = |task: RowTask| {
            if one_lane {
                self.forward.rows_alone(task);
            } else {
                self.team.run(Task::Rows(task));
            }
        };
        rows(RowTask::Embed);
        for layer in 0..self.forward.weights.layers.len() {
            rows(RowTask::BeforeAttention(layer));
            self.team.run(Task::QueryKeyValue(layer));
            rows(RowTask::Turn(layer));
            self.forward.store(layer);
            self.team.run(Task::Attend(layer));
            rows(RowTask::Mix);
            self.team.run(Task::Output(layer));
            rows(RowTask::BeforeInner(layer));
            if self.forward.weights.shape.experts.is_some() {
                self.experts(layer, rows);
                continue;
            }
            self.team.run(Task::GateUp(layer, 0));
            rows(RowTask::WithinInner(layer));
            self.team.run(Task::Down(layer, 0));
            rows(RowTask::AfterInner(layer));
        }
    }

    /// The inner part of a layer with experts, one of those that any row takes after the other.
    fn experts(&self, layer: usize, rows: impl Fn(RowTask)) {
        let experts = |task| rows(RowTask::Experts(task));
        self.team.run(Task::Route(layer));
        experts(ExpertTask::Choose);
        for expert in self.forward.chosen() {
            self.forward.select(expert);
            experts(ExpertTask::Take(expert));
            self.team.run(Task::GateUp(layer, expert));
            experts(ExpertTask::Within(expert));
            self.team.run(Task::Down(layer, expert));
            experts(ExpertTask::Mix(expert));
        }
        experts(ExpertTask::Add);
    }

    /// The hidden state of a row of the last step, ready for [`Runner::logits`].
    pub(crate) fn hidden(&self, row: usize) -> Zeroizing<Vec<f32>> {
        let weights = self.forward.weights;
        let mut hidden = Zeroizing::new(Vec::with_capacity(weights.shape.width));
        self.forward.with_stream(row, |stream| {
            let kernels = self.forward.kernels;
            match &weights.norm {
                Some(norm) => {
                    kernels.normalize(stream, norm, weights.shape.epsilon, &mut hidden);
                }
                None => hidden.extend_from_slice(stream),
            }
        });
        hidden
    }

    /// One logit per token of the vocabulary, for each hidden state.
    pub(crate) fn logits<'h>(
        &mut self,
        hidden: impl Iterator<Item = &'h [f32]>,
    ) -> Vec<Zeroizing<Vec<f32>>> {
        let kernels = self.forward.kernels;
        let mut state = self.forward.write();
        state.head_input.clear();
        let mut rows = 0_usize;
        for hidden in hidden {
            state.head_input.push(kernels, hidden);
            rows = rows.saturating_add(1);
        }
        drop(state);
        self.team.run(Task::Head);
        let shape = &self.forward.weights.shape;
        let logits = |row| {
            let mut logits =
                Zeroizing::new(Vec::with_capacity(shape.vocabulary.next_multiple_of(TILE)));
            self.forward.gather_head(row, &mut logits);
            logits.truncate(shape.vocabulary);
            logits
        };
        (0..rows).map(logits).collect()
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
            let held =
                |runner: &Runner<'_, '_>| runner.forward.held() + runner.forward.read().rows.len();
            runner.close(first);
            assert!(held(&runner) > 0, "another sequence still needs them");
            runner.close(second);
            assert_eq!(held(&runner), 0);
        });
    }
}
