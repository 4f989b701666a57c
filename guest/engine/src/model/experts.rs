//! The inner part of layers with experts: each row takes a few of them.
//!
//! Experts are computed one after the other, each for the rows that take it, and what they give is
//! added in the order of their numbers: a row's numbers depend on no other row.

use std::ops::Range;
use std::sync::RwLockReadGuard;

use zeroize::Zeroize;

use super::forward::{Forward, reading};
use super::lanes::gather;
use super::rows::{Lane, Share, State};
use super::shape::Experts;
use crate::kernels::{TILE, add, exp};

/// What is done to each row, or to each row of the expert of that number.
#[derive(Debug, Clone, Copy)]
pub(super) enum ExpertTask {
    /// From the router's products to experts and their weights.
    Choose,
    /// Makes the rows of an expert the input of its first projections.
    Take(usize),
    /// From its inner products to the input of its last projection.
    Within(usize),
    /// Adds what it gave, weighted.
    Mix(usize),
    /// Adds what all gave to the stream.
    Add,
}

/// An expert that a row takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice {
    expert: usize,
    weight: f32,
}

impl Zeroize for Choice {
    fn zeroize(&mut self) {
        self.expert.zeroize();
        self.weight.zeroize();
    }
}

#[allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "tensor loops: offsets are products of widths that the shape's limits keep small"
)]
impl Forward<'_> {
    pub(super) fn perform_experts(
        &self,
        state: &State,
        task: ExpertTask,
        (lane_number, rows): (usize, Range<usize>),
        shares: &[RwLockReadGuard<'_, Share>],
        lane: &mut Lane,
    ) {
        let width = self.weights.shape.width;
        let first = state.expert_rows.get(lane_number).copied().unwrap_or(0);
        match task {
            ExpertTask::Choose => self.choose(rows, shares, lane),
            ExpertTask::Take(expert) => {
                lane.input.clear();
                for (row, _) in rows_of(&lane.chosen, self.used(), expert) {
                    lane.input
                        .push(self.kernels, &lane.kept[row * width..][..width]);
                }
            }
            ExpertTask::Within(expert) => {
                let count = rows_of(&lane.chosen, self.used(), expert).count();
                self.within_inner(None, first..first + count, shares, lane);
            }
            ExpertTask::Mix(expert) => {
                let own = rows_of(&lane.chosen, self.used(), expert);
                for (at, (row, weight)) in own.enumerate() {
                    gather(shares, first + at, width.div_ceil(TILE), &mut lane.products);
                    let mixed = &mut lane.mixed[row * width..][..width];
                    for (mixed, product) in mixed.iter_mut().zip(&lane.products) {
                        *mixed += weight * product;
                    }
                }
            }
            ExpertTask::Add => add(&mut lane.stream, &lane.mixed),
        }
    }

    fn used(&self) -> usize {
        self.weights.shape.experts.map_or(1, |experts| experts.used)
    }

    fn choose(&self, rows: Range<usize>, shares: &[RwLockReadGuard<'_, Share>], lane: &mut Lane) {
        let Some(experts) = self.weights.shape.experts else {
            return;
        };
        lane.kept.clear();
        lane.kept.extend_from_slice(lane.input.floats());
        lane.mixed.clear();
        lane.mixed.resize(lane.kept.len(), 0.0);
        lane.chosen.clear();
        for row in rows {
            gather(
                shares,
                row,
                experts.count.div_ceil(TILE),
                &mut lane.products,
            );
            choose(&lane.products[..experts.count], experts, &mut lane.chosen);
        }
    }

    /// Experts that any row takes, in order.
    pub(super) fn chosen(&self) -> Vec<usize> {
        let mut chosen = Vec::new();
        for lane in &self.lanes {
            chosen.extend(reading(lane).chosen.iter().map(|choice| choice.expert));
        }
        chosen.sort_unstable();
        chosen.dedup();
        chosen
    }

    /// Counts the rows of an expert in each lane.
    pub(super) fn select(&self, expert: usize) {
        let mut first = 0;
        let mut firsts = Vec::with_capacity(self.lanes.len());
        for lane in &self.lanes {
            firsts.push(first);
            first += rows_of(&reading(lane).chosen, self.used(), expert).count();
        }
        self.write().expert_rows = firsts;
    }
}

/// Rows that take an expert, with its weight.
fn rows_of(chosen: &[Choice], used: usize, expert: usize) -> impl Iterator<Item = (usize, f32)> {
    let rows = chosen.chunks_exact(used.max(1)).enumerate();
    rows.filter_map(move |(row, choices)| {
        let own = choices.iter().find(|choice| choice.expert == expert)?;
        Some((row, own.weight))
    })
}

/// Appends the heaviest experts of a row, ties by number; weights are the softmax of the logits.
#[allow(clippy::arithmetic_side_effects, reason = "float arithmetic only")]
fn choose(logits: &[f32], experts: Experts, chosen: &mut Vec<Choice>) {
    let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights = logits.iter().map(|logit| exp(logit - greatest));
    let weights = weights.enumerate();
    let mut weights: Vec<Choice> = weights
        .map(|(expert, weight)| Choice { expert, weight })
        .collect();
    let all: f32 = weights.iter().map(|choice| choice.weight).sum();
    weights.sort_by(|one, other| other.weight.total_cmp(&one.weight));
    weights.truncate(experts.used);
    let sum = if experts.normalized {
        weights.iter().map(|choice| choice.weight).sum()
    } else {
        all
    };
    chosen.extend(weights.iter().map(|choice| Choice {
        expert: choice.expert,
        weight: choice.weight / sum,
    }));
    weights.zeroize();
}
