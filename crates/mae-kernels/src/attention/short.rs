//! Attention over few tokens, with one head per vector lane. Matrices with so few rows would cost more to pack than to
//! multiply.

use multiversion::multiversion;
use rayon::prelude::*;

use super::{Attended, Heads};
use crate::simd::exp;
use crate::{Buffer, Threads};

/// Heads computed at once, of one image or several.
const LANES: usize = 8;
/// Rows or columns of a product that are summed side by side.
const TILE: usize = 4;
/// The largest number of tokens for which this module is faster.
const FEW: usize = 32;
/// Images per task: no lane stays empty, whatever the number of heads.
const IMAGES: usize = LANES;

/// One value for each head of a group.
type Lanes = [f32; LANES];

/// Whether there are few enough tokens for this module.
pub(super) fn applies(heads: Heads) -> bool {
    heads.len <= FEW
}

/// Buffers for a group of heads: M matrices of its tokens, `[L, D/N]`, and S of scores, `[rows, L]`.
struct Scratch<const M: usize, const S: usize> {
    buffer: Buffer,
    sizes: [usize; 2],
}

impl<const M: usize, const S: usize> Scratch<M, S> {
    fn new(heads: Heads, rows: usize) -> Self {
        let sizes = [heads.len * heads.dim, rows * heads.len];
        Self { buffer: Buffer::any((M * sizes[0] + S * sizes[1]) * LANES), sizes }
    }

    fn split(&mut self) -> ([&mut [Lanes]; M], [&mut [Lanes]; S]) {
        let (all, _) = self.buffer.as_chunks_mut::<LANES>();
        let (matrices, scores) = all.split_at_mut(M * self.sizes[0]);
        let (mut matrices, mut scores) =
            (matrices.chunks_exact_mut(self.sizes[0]), scores.chunks_exact_mut(self.sizes[1]));
        let matrices = std::array::from_fn(|_| matrices.next().unwrap_or_default());
        (matrices, std::array::from_fn(|_| scores.next().unwrap_or_default()))
    }
}

/// The heads of one group: the image and the head that each lane computes. Lanes beyond the last head repeat it.
#[derive(Clone, Copy)]
struct Group {
    first: usize,
    count: usize,
    heads: Heads,
}

impl Group {
    /// Iterates over the groups of all heads in `[B, L, 3·D]`.
    fn all(qkv: &[f32], heads: Heads) -> impl Iterator<Item = Self> {
        let total = qkv.len() / (heads.len * 3 * heads.dim);
        (0..total).step_by(LANES).map(move |first| Self { first, count: LANES.min(total - first), heads })
    }

    /// Returns the image and head of a lane.
    fn at(self, lane: usize) -> (usize, usize) {
        let head = self.first + lane.min(self.count - 1);
        (head / self.heads.num, head % self.heads.num)
    }
}

/// [`crate::attention`] for few tokens.
pub(super) fn attention(
    out: &mut [f32],
    log_sums: &mut [f32],
    qkv: &[f32],
    bias: &[f32],
    heads: Heads,
    threads: Threads,
) {
    let (Heads { len, queries, num, .. }, width) = (heads, heads.width());
    out.par_chunks_mut(IMAGES * queries * width)
        .zip(qkv.par_chunks(IMAGES * len * 3 * width))
        .zip(log_sums.par_chunks_mut(IMAGES * num * queries))
        .with_min_len(threads.min_len())
        .for_each(|((out, qkv), log_sums)| {
            let mut scratch = Scratch::new(heads, 1);
            for group in Group::all(qkv, heads) {
                let (matrices, [weights]) = scratch.split();
                forward(out, log_sums, qkv, bias, group, matrices, weights);
            }
        });
}

#[multiversion(targets = "simd")]
fn forward(
    out: &mut [f32],
    log_sums: &mut [f32],
    qkv: &[f32],
    bias: &[f32],
    group: Group,
    [q, k, v, mixed]: [&mut [Lanes]; 4],
    weights: &mut [Lanes],
) {
    let Heads { len, queries, num, dim } = group.heads;
    load_qkv(qkv, bias, group, [&mut *q, &mut *k, &mut *v]);
    for query in 0..queries {
        let row = query + len - queries;
        dots(weights, &q[row * dim..][..dim], k);
        let mut max = [f32::NEG_INFINITY; LANES];
        for weight in weights.iter() {
            for (max, &weight) in max.iter_mut().zip(weight) {
                *max = if weight > *max { weight } else { *max };
            }
        }
        subtract_exp(weights, max);
        let mut total = [0.0; LANES];
        for weight in weights.iter() {
            for lane in 0..LANES {
                total[lane] += weight[lane];
            }
        }
        let scale = total.map(|total| 1.0 / total);
        for weight in weights.iter_mut() {
            for lane in 0..LANES {
                weight[lane] *= scale[lane];
            }
        }
        combine(&mut mixed[query * dim..][..dim], weights, 1, v);
        for lane in 0..group.count {
            let (image, head) = group.at(lane);
            log_sums[(image * num + head) * queries + query] = max[lane] + total[lane].ln();
        }
    }
    store(out, mixed, queries, num * dim, 0, 1.0, group);
}

/// [`crate::attention_backward`] for few tokens.
pub(super) fn attention_backward(
    qkv_grad: &mut [f32],
    grad: &[f32],
    attended: Attended<'_>,
    heads: Heads,
    threads: Threads,
) {
    let (Heads { len, queries, num, .. }, width) = (heads, heads.width());
    qkv_grad
        .par_chunks_mut(IMAGES * len * 3 * width)
        .zip(attended.qkv.par_chunks(IMAGES * len * 3 * width))
        .zip(grad.par_chunks(IMAGES * queries * width))
        .zip(attended.log_sums.par_chunks(IMAGES * num * queries))
        .with_min_len(threads.min_len())
        .for_each(|(((qkv_grad, qkv), grad), log_sums)| {
            let attended = Attended { qkv, log_sums, ..attended };
            let mut scratch = Scratch::new(heads, queries);
            for group in Group::all(qkv, heads) {
                let (matrices, scores) = scratch.split();
                backward(qkv_grad, grad, attended, group, matrices, scores);
            }
        });
}

#[multiversion(targets = "simd")]
fn backward(
    qkv_grad: &mut [f32],
    grad: &[f32],
    attended: Attended<'_>,
    group: Group,
    [q, k, v, out_grad, q_grad, k_grad, v_grad]: [&mut [Lanes]; 7],
    [weights, inner]: [&mut [Lanes]; 2],
) {
    let Heads { len, queries, num, dim } = group.heads;
    let width = num * dim;
    load_qkv(attended.qkv, attended.bias, group, [&mut *q, &mut *k, &mut *v]);
    load(out_grad, grad, queries, width, 0, None, group);
    q_grad[..(len - queries) * dim].fill([0.0; LANES]);
    for query in 0..queries {
        let row = query + len - queries;
        let mut log_sum = [0.0; LANES];
        for (lane, log_sum) in log_sum.iter_mut().enumerate() {
            let (image, head) = group.at(lane);
            *log_sum = attended.log_sums[(image * num + head) * queries + query];
        }
        let (weights, inner) = (&mut weights[query * len..][..len], &mut inner[query * len..][..len]);
        dots(weights, &q[row * dim..][..dim], k);
        dots(inner, &out_grad[query * dim..][..dim], v); // dP
        subtract_exp(weights, log_sum); // P
        let mut mean = [0.0; LANES];
        for (weight, inner) in weights.iter().zip(inner.iter()) {
            for lane in 0..LANES {
                mean[lane] = weight[lane].mul_add(inner[lane], mean[lane]);
            }
        }
        for (weight, inner) in weights.iter().zip(inner.iter_mut()) {
            for lane in 0..LANES {
                inner[lane] = weight[lane] * (inner[lane] - mean[lane]); // dS
            }
        }
        combine(&mut q_grad[row * dim..][..dim], inner, 1, k);
    }
    let q = &q[(len - queries) * dim..];
    for key in 0..len {
        combine(&mut k_grad[key * dim..][..dim], &inner[key..], len, q);
        combine(&mut v_grad[key * dim..][..dim], &weights[key..], len, &out_grad[..queries * dim]);
    }
    for (part, (grad, scale)) in
        [(q_grad, group.heads.scale()), (k_grad, 1.0), (v_grad, 1.0)].into_iter().enumerate()
    {
        store(qkv_grad, grad, len, 3 * width, part * width, scale, group);
    }
}

/// Loads queries, keys and values, all biased; queries are also scaled.
fn load_qkv(qkv: &[f32], bias: &[f32], group: Group, parts: [&mut [Lanes]; 3]) {
    let Heads { len, num, dim, .. } = group.heads;
    let width = num * dim;
    let [q, k, v] = parts;
    load(q, qkv, len, 3 * width, 0, Some((&bias[..width], group.heads.scale())), group);
    load(k, qkv, len, 3 * width, width, Some((&bias[width..][..width], 1.0)), group);
    load(v, qkv, len, 3 * width, 2 * width, Some((&bias[2 * width..][..width], 1.0)), group);
}

/// Copies columns of `[B, rows, stride]` from `first` on, each head's to its lane. Adds a bias and scales if `affine`
/// is given.
#[inline(never)] // copies single values: compiled for wider vectors, it would only be slower
fn load(
    to: &mut [Lanes],
    from: &[f32],
    rows: usize,
    stride: usize,
    first: usize,
    affine: Option<(&[f32], f32)>,
    group: Group,
) {
    let dim = group.heads.dim;
    for lane in 0..LANES {
        let (image, head) = group.at(lane);
        for row in 0..rows {
            let from = &from[(image * rows + row) * stride + first + head * dim..][..dim];
            let to = &mut to[row * dim..][..dim];
            match affine {
                Some((bias, scale)) => {
                    for ((to, from), bias) in to.iter_mut().zip(from).zip(&bias[head * dim..][..dim]) {
                        to[lane] = (from + bias) * scale;
                    }
                }
                None => to.iter_mut().zip(from).for_each(|(to, from)| to[lane] = *from),
            }
        }
    }
}

/// The inverse of [`load`]: writes each lane to its head's columns, scaled.
#[inline(never)]
fn store(to: &mut [f32], from: &[Lanes], rows: usize, stride: usize, first: usize, scale: f32, group: Group) {
    let dim = group.heads.dim;
    for lane in 0..group.count {
        let (image, head) = group.at(lane);
        for row in 0..rows {
            let to = &mut to[(image * rows + row) * stride + first + head * dim..][..dim];
            for (to, from) in to.iter_mut().zip(&from[row * dim..][..dim]) {
                *to = from[lane] * scale;
            }
        }
    }
}

/// Replaces `x` with `exp(x - of)`.
#[inline(always)]
fn subtract_exp(x: &mut [Lanes], of: Lanes) {
    for x in x.iter_mut() {
        for lane in 0..LANES {
            x[lane] -= of[lane];
        }
    }
    // Flattened, so that the compiler can choose the vector width.
    for x in x.as_flattened_mut() {
        *x = exp(*x);
    }
}

/// `out[j] = row · matrix[j]`: `[D]`, `[L, D]` → `[L]`
#[inline(always)]
fn dots(out: &mut [Lanes], row: &[Lanes], matrix: &[Lanes]) {
    let dim = row.len();
    let mut tiles = out.chunks_exact_mut(TILE);
    let mut at = 0;
    for out in &mut tiles {
        let mut sums = [[0.0_f32; LANES]; TILE];
        let rows = &matrix[at * dim..][..TILE * dim];
        for d in 0..dim {
            let x = row[d];
            for (t, sums) in sums.iter_mut().enumerate() {
                let y = rows[t * dim + d];
                for lane in 0..LANES {
                    sums[lane] = x[lane].mul_add(y[lane], sums[lane]);
                }
            }
        }
        out.copy_from_slice(&sums);
        at += TILE;
    }
    for out in tiles.into_remainder() {
        let mut sum = [0.0_f32; LANES];
        for (x, y) in row.iter().zip(&matrix[at * dim..][..dim]) {
            for lane in 0..LANES {
                sum[lane] = x[lane].mul_add(y[lane], sum[lane]);
            }
        }
        *out = sum;
        at += 1;
    }
}

/// `out = Σ weights[j · step] · matrix[j]`: `[L]`, `[L, D]` → `[D]`
#[inline(always)]
fn combine(out: &mut [Lanes], weights: &[Lanes], step: usize, matrix: &[Lanes]) {
    let dim = out.len();
    let mut tiles = out.chunks_exact_mut(TILE);
    let mut at = 0;
    for out in &mut tiles {
        let mut sums = [[0.0_f32; LANES]; TILE];
        for (weight, row) in weights.iter().step_by(step).zip(matrix.chunks_exact(dim)) {
            let row = &row[at..][..TILE];
            for (sums, x) in sums.iter_mut().zip(row) {
                for lane in 0..LANES {
                    sums[lane] = weight[lane].mul_add(x[lane], sums[lane]);
                }
            }
        }
        out.copy_from_slice(&sums);
        at += TILE;
    }
    for out in tiles.into_remainder() {
        let mut sum = [0.0_f32; LANES];
        for (weight, row) in weights.iter().step_by(step).zip(matrix.chunks_exact(dim)) {
            for lane in 0..LANES {
                sum[lane] = weight[lane].mul_add(row[at][lane], sum[lane]);
            }
        }
        *out = sum;
        at += 1;
    }
}
