//! The shape of a model: widths, counts, and which parts its blocks have.
//!
//! One definition serves every family; a family is a choice of parts. The two ways in are the keys
//! of a GGUF file (`gguf`) and a `config.json` (`config`). A model that asks for something that is
//! not computed here is refused, not approximated.

mod config;
mod gguf;

use super::pooling::Pooling;
use crate::kernels::BLOCK;
use crate::refusal::ModelError;

/// Limits that no model comes near, so that no product of two overflows.
const MAX_LAYERS: usize = 512;
const MAX_WIDTH: usize = 1 << 18;
const MAX_HEADS: usize = 1 << 10;
const MAX_HEAD: usize = 1 << 10;
const MAX_CONTEXT: usize = 1 << 20;
const MAX_VOCABULARY: usize = 1 << 20;
const MAX_EXPERTS: usize = 1 << 10;

/// The function between the two halves of the inner part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    /// `x / (1 + exp(-x))`.
    Silu,
    /// The usual approximation of GELU by tanh.
    Gelu,
}

/// Which elements of a head are turned together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pairing {
    /// Neighbours.
    Neighbours,
    /// An element of the first half with one of the second.
    Halves,
}

/// What is done to the angles of longer contexts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scaling {
    /// Nothing.
    None,
    /// All angles are divided.
    Linear(f32),
    /// Slow angles are divided, fast ones are not, with a passage between them.
    Llama3 {
        /// What slow angles are divided by.
        factor: f32,
        /// Turns within the original context below which an angle is slow.
        low: f32,
        /// And above which it is fast.
        high: f32,
        /// The original context.
        original: usize,
    },
}

/// Rotary angles.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rope {
    /// Their base.
    pub(crate) base: f32,
    /// Their scaling.
    pub(crate) scaling: Scaling,
}

/// Layers that see only the latest positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    /// Positions seen, a row's own among them.
    pub(crate) positions: usize,
    /// Each layer with this number (counted from 1) sees everything; none: no layer does.
    pub(crate) full_every: Option<usize>,
}

/// Several inner parts of which each row takes a few.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Experts {
    /// How many there are.
    pub(crate) count: usize,
    /// How many a row takes.
    pub(crate) used: usize,
    /// Whether their weights are made to sum to one.
    pub(crate) normalized: bool,
}

/// Parts that blocks have or lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Parts {
    /// Queries, keys and values are offset.
    pub(crate) bias: bool,
    /// Heads of queries and keys are normed.
    pub(crate) head_norms: bool,
    /// What attention and the inner part give is normed.
    pub(crate) norms_after: bool,
    /// Query, key and value projections are stored as one, gate and up too.
    pub(crate) fused: bool,
    /// Norms are stored less one.
    pub(crate) norms_less_one: bool,
    /// Blocks are those of an encoder, and a row sees its whole text: see `encoder`.
    pub(crate) encoder: bool,
}

/// Widths, counts and parts of a model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shape {
    /// Transformer blocks.
    pub(crate) layers: usize,
    /// Width of the residual stream.
    pub(crate) width: usize,
    /// Width inside the inner part, or of one expert.
    pub(crate) inner: usize,
    /// Query heads.
    pub(crate) heads: usize,
    /// Key and value heads; divides `heads`.
    pub(crate) kv_heads: usize,
    /// Width of a head.
    pub(crate) head: usize,
    /// Elements of a head that are turned.
    pub(crate) turned: usize,
    /// Longest context, in tokens.
    pub(crate) context: usize,
    /// Tokens.
    pub(crate) vocabulary: usize,
    /// Epsilon of the norms.
    pub(crate) epsilon: f32,
    /// Angles of layers that see everything.
    pub(crate) rope: Rope,
    /// Angles of the others, where they differ.
    pub(crate) window_rope: Option<Rope>,
    /// Layers that see only the latest positions.
    pub(crate) window: Option<Window>,
    /// Which elements are turned together.
    pub(crate) pairing: Pairing,
    /// Of the inner part.
    pub(crate) activation: Activation,
    /// What embeddings are multiplied with.
    pub(crate) embedding_scale: Option<f32>,
    /// What products of query and key are multiplied with.
    pub(crate) score_scale: f32,
    /// Experts, if there are any.
    pub(crate) experts: Option<Experts>,
    /// Parts.
    pub(crate) parts: Parts,
    /// Whether the head is the embedding; none: it is when there is no other.
    pub(crate) tied: Option<bool>,
    /// How its hidden states become vectors, in a model that gives nothing else.
    pub(crate) pooling: Option<Pooling>,
}

impl Shape {
    /// Width of all query heads.
    pub(crate) const fn query_width(&self) -> usize {
        self.heads.saturating_mul(self.head)
    }

    /// Width of all key (or value) heads.
    pub(crate) const fn kv_width(&self) -> usize {
        self.kv_heads.saturating_mul(self.head)
    }

    /// How many positions a layer sees, if not all.
    pub(crate) fn window_of(&self, layer: usize) -> Option<usize> {
        let window = self.window?;
        let number = layer.saturating_add(1);
        let full = window
            .full_every
            .is_some_and(|every| number.is_multiple_of(every));
        (!full).then_some(window.positions)
    }

    /// Angle per position of each turned pair: those of the whole, then those of windows.
    pub(crate) fn frequencies(&self) -> Vec<f64> {
        let ropes = [Some(self.rope), self.window_rope];
        let tables = ropes.into_iter().flatten();
        tables
            .flat_map(|rope| rope.frequencies(self.turned))
            .collect()
    }

    /// Holds the shape against the limits; `name` says which member of its source is at fault.
    fn check(&self, name: impl Fn(Fault) -> ModelError) -> Result<(), ModelError> {
        let within = |found: usize, limit: usize| (1..=limit).contains(&found);
        let blocks = |width: usize| within(width, MAX_WIDTH) && width.is_multiple_of(BLOCK);
        // Where positions are learned nothing is turned.
        let turned = match self.parts.encoder {
            true => self.turned == 0,
            false => within(self.turned, self.head),
        };
        let even = self.turned.is_multiple_of(2) && turned;
        let window = self.window.is_none_or(|window| {
            within(window.positions, MAX_CONTEXT) && window.full_every != Some(0)
        });
        let experts = self.experts.is_none_or(|experts| {
            within(experts.count, MAX_EXPERTS) && within(experts.used, experts.count)
        });
        let positive = |value: f32| value.is_finite() && value > 0.0;
        let ropes = self.rope.is_sound() && self.window_rope.is_none_or(|rope| rope.is_sound());
        let held = [
            (Fault::Layers, within(self.layers, MAX_LAYERS)),
            (Fault::Width, blocks(self.width)),
            (Fault::Inner, blocks(self.inner)),
            (Fault::Heads, within(self.heads, MAX_HEADS)),
            (
                Fault::Head,
                within(self.head, MAX_HEAD) && blocks(self.query_width()),
            ),
            (
                Fault::KvHeads,
                within(self.kv_heads, self.heads) && self.heads.is_multiple_of(self.kv_heads),
            ),
            (Fault::Turned, even),
            (Fault::Context, within(self.context, MAX_CONTEXT)),
            (Fault::Vocabulary, within(self.vocabulary, MAX_VOCABULARY)),
            (
                Fault::Epsilon,
                self.epsilon.is_finite() && self.epsilon >= 0.0,
            ),
            (Fault::Rope, ropes),
            (Fault::Window, window),
            (Fault::Experts, experts),
            (Fault::Scale, positive(self.score_scale)),
        ];
        let broken = held.into_iter().find(|(_, held)| !held);
        broken.map_or(Ok(()), |(fault, _)| Err(name(fault)))
    }
}

/// What a shape is refused for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Layers,
    Width,
    Inner,
    Heads,
    KvHeads,
    Head,
    Turned,
    Context,
    Vocabulary,
    Epsilon,
    Rope,
    Window,
    Experts,
    Scale,
}

impl Rope {
    fn is_sound(&self) -> bool {
        let base = self.base.is_finite() && self.base >= 1.0;
        let above = |value: f32, least: f32| value.is_finite() && value > least;
        base && match self.scaling {
            Scaling::None => true,
            Scaling::Linear(factor) => above(factor, 0.0),
            Scaling::Llama3 {
                factor,
                low,
                high,
                original,
            } => above(factor, 0.0) && above(low, 0.0) && above(high, low) && original > 0,
        }
    }

    /// Angle per position of each pair of `turned` elements.
    #[allow(clippy::arithmetic_side_effects, reason = "float arithmetic only")]
    fn frequencies(self, turned: usize) -> Vec<f64> {
        let number = |value: usize| f64::from(u32::try_from(value).unwrap_or(u32::MAX));
        let pairs = (0..turned / 2).map(|pair| {
            let share = 2.0 * number(pair) / number(turned);
            let frequency = fading(f64::from(self.base), share);
            match self.scaling {
                Scaling::None => frequency,
                Scaling::Linear(factor) => frequency / f64::from(factor),
                Scaling::Llama3 {
                    factor,
                    low,
                    high,
                    original,
                } => {
                    let (factor, low) = (f64::from(factor), f64::from(low));
                    let turns = number(original) * frequency / std::f64::consts::TAU;
                    let fast = ((turns - low) / (f64::from(high) - low)).clamp(0.0, 1.0);
                    frequency * (fast + (1.0 - fast) / factor)
                }
            }
        });
        pairs.collect()
    }
}

/// `base` to the power of `-share`, for a share from 0 to below 1, within 1e-14 of its value. Made
/// of square roots and quotients, which IEEE 754 rounds in one way: a library's power may differ in
/// its last bit between processors, and so would answers.
#[allow(clippy::arithmetic_side_effects, reason = "float arithmetic only")]
fn fading(base: f64, mut share: f64) -> f64 {
    let (mut root, mut power) = (base, 1.0);
    for _ in 0..f64::MANTISSA_DIGITS {
        root = root.sqrt();
        share *= 2.0;
        if share >= 1.0 {
            share -= 1.0;
            power /= root;
        }
    }
    power
}

/// The square root of a width.
pub(super) fn root(value: usize) -> f32 {
    // What a float holds exactly: widths are below 2^18.
    (value.min(MAX_WIDTH) as f32).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_fade_like_the_librarys_power() {
        for base in [1.0, 100.0, 10_000.0, 1e6, 1e7] {
            for turned in [2_u32, 24, 64, 96, 128, 256] {
                for pair in 0..turned / 2 {
                    let share = f64::from(2 * pair) / f64::from(turned);
                    let (found, truth) = (fading(base, share), base.powf(-share));
                    assert!((found / truth - 1.0).abs() < 1e-14, "{base} {share}");
                }
            }
        }
    }
}
