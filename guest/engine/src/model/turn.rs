//! From products to queries, keys and values: offsets, norms of heads, rotation. And the input of
//! the last projection of an inner part.

use std::ops::Range;
use std::sync::RwLockReadGuard;

use super::encoder::EncoderLayer;
use super::forward::Forward;
use super::lanes::gather;
use super::rows::{Lane, Share};
use super::shape::{Pairing, Shape};
use super::weights::Layer;
use crate::kernels::{TILE, add};

#[allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "tensor loops: offsets are products of widths that the shape's limits keep small"
)]
impl Forward<'_> {
    /// From the products of a layer to queries, keys and values.
    pub(super) fn turn(
        &self,
        layer: &Layer,
        windowed: bool,
        rows: Range<usize>,
        shares: &[RwLockReadGuard<'_, Share>],
        lane: &mut Lane,
    ) {
        let shape = &self.weights.shape;
        let tiles = [layer.query.tiles(), layer.key.tiles(), layer.value.tiles()];
        let key_start = tiles[0] * TILE;
        let value_start = key_start + tiles[1] * TILE;
        lane.query.clear();
        lane.key.clear();
        lane.value.clear();
        let pairs = shape.turned / 2;
        let stride = self.frequencies.len();
        let table = if windowed { stride - pairs } else { 0 };
        for (number, row) in rows.enumerate() {
            gather(shares, row, tiles.iter().sum(), &mut lane.products);
            let products = lane.products.as_mut_slice();
            let angles = &lane.angles[number * stride + table..][..pairs];
            if let Some(biases) = &layer.biases {
                add(products, &biases.query);
                add(&mut products[key_start..], &biases.key);
                add(&mut products[value_start..], &biases.value);
            }
            let query = &mut products[..shape.query_width()];
            if let Some([norm, _]) = &layer.head_norms {
                self.norm_heads(query, norm, &mut lane.normed);
            }
            rotate(query, angles, shape);
            lane.query.extend_from_slice(query);
            let key = &mut products[key_start..][..shape.kv_width()];
            if let Some([_, norm]) = &layer.head_norms {
                self.norm_heads(key, norm, &mut lane.normed);
            }
            rotate(key, angles, shape);
            lane.key.extend_from_slice(key);
            let value = &products[value_start..][..shape.kv_width()];
            lane.value.extend_from_slice(value);
        }
    }

    fn norm_heads(&self, heads: &mut [f32], norm: &[f32], normed: &mut Vec<f32>) {
        let shape = &self.weights.shape;
        for head in heads.chunks_exact_mut(shape.head) {
            normed.clear();
            self.kernels.normalize(head, norm, shape.epsilon, normed);
            head.copy_from_slice(normed);
        }
    }

    pub(super) fn within_inner(
        &self,
        encoder: Option<&EncoderLayer>,
        rows: Range<usize>,
        shares: &[RwLockReadGuard<'_, Share>],
        lane: &mut Lane,
    ) {
        let inner = self.weights.shape.inner;
        lane.input.clear();
        for row in rows {
            gather(shares, row, inner.div_ceil(TILE), &mut lane.products);
            if let Some(encoder) = encoder {
                encoder.within_inner(&mut lane.products[..inner]);
            }
            lane.input.push(self.kernels, &lane.products[..inner]);
        }
    }
}

/// Turns the pairs of each head by the row's angles.
#[allow(clippy::arithmetic_side_effects, reason = "float arithmetic only")]
fn rotate(heads: &mut [f32], angles: &[(f32, f32)], shape: &Shape) {
    let turn = |first: &mut f32, second: &mut f32, (cosine, sine): &(f32, f32)| {
        let turned = *first * sine + *second * cosine;
        *first = *first * cosine - *second * sine;
        *second = turned;
    };
    for head in heads.chunks_exact_mut(shape.head) {
        let turned = head.get_mut(..shape.turned).unwrap_or_default();
        match shape.pairing {
            Pairing::Neighbours => {
                let (pairs, _) = turned.as_chunks_mut::<2>();
                for ([first, second], angle) in pairs.iter_mut().zip(angles) {
                    turn(first, second, angle);
                }
            }
            Pairing::Halves => {
                let (firsts, seconds) = turned.split_at_mut(shape.turned / 2);
                for ((first, second), angle) in firsts.iter_mut().zip(seconds).zip(angles) {
                    turn(first, second, angle);
                }
            }
        }
    }
}
