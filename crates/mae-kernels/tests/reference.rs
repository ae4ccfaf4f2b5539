//! Compares each kernel with its formula in f64, and its backward pass with finite differences of that formula.

use mae_kernels::{Branch, Buffer, ChannelMoments, ChannelNorm, Heads, Nonlinearity, ProductType, Taps};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// Largest difference allowed, relative to the largest magnitude in the reference.
const TOLERANCE: f64 = 2e-5;
const EPS: f32 = 1e-6;

fn random(len: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| (rng.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|x| f64::from(*x)).collect()
}

fn assert_near(what: &str, ours: &[f32], reference: &[f64]) {
    assert_eq!(ours.len(), reference.len(), "{what}");
    let scale = reference.iter().fold(1e-3_f64, |max, x| max.max(x.abs()));
    for (i, (ours, reference)) in ours.iter().zip(reference).enumerate() {
        let off = (f64::from(*ours) - reference).abs() / scale;
        assert!(off < TOLERANCE, "{what}[{i}] = {ours}, not {reference}");
    }
}

mod formula {
    //! The definitions, as plain as they can be written.

    pub fn product(x: &[f64], weight: &[f64], d_in: usize) -> Vec<f64> {
        let d_out = weight.len() / d_in;
        let row = |x: &[f64]| {
            (0..d_out).map(|j| (0..d_in).map(|i| x[i] * weight[i * d_out + j]).sum()).collect::<Vec<f64>>()
        };
        x.chunks_exact(d_in).flat_map(row).collect()
    }

    pub fn plus(x: &[f64], bias: &[f64]) -> Vec<f64> {
        x.iter().zip(bias.iter().cycle()).map(|(x, b)| x + b).collect()
    }

    pub fn layer_norm(x: &[f64], weight: &[f64], bias: &[f64], eps: f64) -> Vec<f64> {
        let d = weight.len();
        let row = |x: &[f64]| {
            let mean = x.iter().sum::<f64>() / d as f64;
            let var = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / d as f64;
            (0..d).map(|i| (x[i] - mean) / (var + eps).sqrt() * weight[i] + bias[i]).collect::<Vec<f64>>()
        };
        x.chunks_exact(d).flat_map(row).collect()
    }

    pub fn batch_norm(x: &[f64], weight: &[f64], bias: &[f64], eps: f64, f: fn(f64) -> f64) -> Vec<f64> {
        let (channels, rows) = (weight.len(), (x.len() / weight.len()) as f64);
        let column = |c: usize| x.iter().skip(c).step_by(channels);
        let mut y = x.to_vec();
        for c in 0..channels {
            let mean = column(c).sum::<f64>() / rows;
            let var = column(c).map(|x| (x - mean).powi(2)).sum::<f64>() / rows;
            for y in y.iter_mut().skip(c).step_by(channels) {
                *y = f((*y - mean) / (var + eps).sqrt() * weight[c] + bias[c]);
            }
        }
        y
    }

    /// x times the standard normal distribution function, by its series.
    pub fn gelu(x: f64) -> f64 {
        let z = x / 2.0_f64.sqrt();
        let (mut term, mut sum, mut n) = (z, z, 0.0);
        while term.abs() > 1e-18 {
            n += 1.0;
            term *= -z * z / n;
            sum += term / (2.0 * n + 1.0);
        }
        x * (0.5 + sum / std::f64::consts::PI.sqrt())
    }

    pub fn attention(qkv: &[f64], len: usize, num: usize, dim: usize) -> Vec<f64> {
        let width = num * dim;
        let mut out = Vec::new();
        for image in qkv.chunks_exact(len * 3 * width) {
            let at = |token: usize, part: usize, head: usize, i: usize| {
                image[token * 3 * width + part * width + head * dim + i]
            };
            for query in 0..len {
                for head in 0..num {
                    let score = |key: usize| {
                        let dot: f64 = (0..dim).map(|i| at(query, 0, head, i) * at(key, 1, head, i)).sum();
                        (dot / (dim as f64).sqrt()).exp()
                    };
                    let scores: Vec<f64> = (0..len).map(score).collect();
                    let total: f64 = scores.iter().sum();
                    let mixed = (0..dim)
                        .map(|i| (0..len).map(|key| scores[key] * at(key, 2, head, i)).sum::<f64>() / total);
                    out.extend(mixed.collect::<Vec<f64>>());
                }
            }
        }
        out
    }

    pub fn loss(pred: &[f64], patches: &[f64], cols: usize, eps: Option<f64>) -> f64 {
        let rows = pred.chunks_exact(cols).zip(patches.chunks_exact(cols));
        let row = |(pred, patch): (&[f64], &[f64])| {
            let mean = patch.iter().sum::<f64>() / cols as f64;
            let var = patch.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (cols as f64 - 1.0);
            let (mean, scale) = eps.map_or((0.0, 1.0), |eps| (mean, (var + eps).sqrt()));
            pred.iter().zip(patch).map(|(p, x)| (p - (x - mean) / scale).powi(2)).sum::<f64>()
        };
        rows.map(row).sum::<f64>() / pred.len() as f64
    }
}

/// The gradient of `sum(f(inputs) * weights)` with respect to one of the inputs, by central differences.
fn differences(
    inputs: &[Vec<f64>],
    which: usize,
    weights: &[f64],
    f: &dyn Fn(&[Vec<f64>]) -> Vec<f64>,
) -> Vec<f64> {
    let step = 1e-5;
    let objective = |inputs: &[Vec<f64>]| f(inputs).iter().zip(weights).map(|(y, w)| y * w).sum::<f64>();
    (0..inputs[which].len())
        .map(|i| {
            let mut inputs = inputs.to_vec();
            let middle = inputs[which][i];
            inputs[which][i] = middle + step;
            let above = objective(&inputs);
            inputs[which][i] = middle - step;
            (above - objective(&inputs)) / (2.0 * step)
        })
        .collect()
}

struct Shape {
    batch: usize,
    heads: Heads,
    hidden: usize,
}

/// Odd shapes: no size a multiple of a vector, more than one tile of queries, one token, one head, some tokens that are
/// not queries, more heads than a vector has lanes, few tokens and many.
fn shapes() -> Vec<Shape> {
    let shape = |batch, (len, queries), num, dim, hidden| Shape {
        batch,
        heads: Heads { len, queries, num, dim },
        hidden,
    };
    vec![
        shape(2, (5, 5), 2, 3, 7),
        shape(1, (131, 131), 1, 2, 3),
        shape(3, (1, 1), 1, 5, 9),
        shape(2, (17, 11), 3, 4, 33),
        shape(11, (6, 4), 3, 2, 3),
        shape(2, (35, 33), 3, 2, 3),
        shape(1, (140, 130), 1, 2, 3),
    ]
}

/// Returns the last Q of each image's L rows.
fn last_rows(x: &[f64], heads: Heads) -> Vec<f64> {
    let width = heads.num * heads.dim;
    x.chunks_exact(heads.len * width)
        .flat_map(|image| &image[(heads.len - heads.queries) * width..])
        .copied()
        .collect()
}

impl Shape {
    fn width(&self) -> usize {
        self.heads.num * self.heads.dim
    }

    /// x, then a branch's parameters.
    fn inputs(&self, inner: usize, out: usize) -> Vec<Vec<f32>> {
        let d = self.width();
        let lens = [self.batch * self.heads.len * d, d, d, d * inner, inner, out * d, d];
        lens.iter().enumerate().map(|(i, len)| random(*len, i as u64)).collect()
    }
}

fn branch(inputs: &[Vec<f32>]) -> Branch<'_> {
    let [_, norm_weight, norm_bias, in_weight, in_bias, out_weight, out_bias] = inputs else {
        panic!("an input and six parameters")
    };
    Branch { norm_weight, norm_bias, in_weight, in_bias, out_weight, out_bias, products: ProductType::F32 }
}

fn check_gradients(
    inputs: &[Vec<f32>],
    grad: &[f32],
    ours: impl IntoIterator<Item = Buffer>,
    f: &dyn Fn(&[Vec<f64>]) -> Vec<f64>,
) {
    let inputs: Vec<Vec<f64>> = inputs.iter().map(|x| wide(x)).collect();
    for (which, ours) in ours.into_iter().enumerate() {
        let name = format!("gradient of input {which}");
        assert_near(&name, &ours, &differences(&inputs, which, &wide(grad), f));
    }
}

#[test]
fn the_attention_branch_and_its_gradients() {
    for shape in shapes() {
        let (heads, d) = (shape.heads, shape.width());
        let inputs = shape.inputs(3 * d, d);
        let f = |inputs: &[Vec<f64>]| {
            let normed = formula::layer_norm(&inputs[0], &inputs[1], &inputs[2], f64::from(EPS));
            let qkv = formula::plus(&formula::product(&normed, &inputs[3], d), &inputs[4]);
            let mixed = formula::attention(&qkv, heads.len, heads.num, heads.dim);
            let out = formula::plus(&formula::product(&mixed, &inputs[5], d), &inputs[6]);
            last_rows(&formula::plus(&out, &inputs[0]), heads)
        };
        let (y, saved) = mae_kernels::attention_branch(&inputs[0], branch(&inputs), heads, EPS);
        assert_near("attention branch", &y, &f(&inputs.iter().map(|x| wide(x)).collect::<Vec<_>>()));
        let grad = random(y.len(), 99);
        let (x_grad, grads) =
            mae_kernels::attention_branch_backward(&grad, &inputs[0], branch(&inputs), heads, &saved);
        check_gradients(&inputs, &grad, [x_grad].into_iter().chain(grads), &f);
    }
}

#[test]
fn the_mlp_branch_and_its_gradients() {
    for shape in shapes() {
        let (d, hidden) = (shape.width(), shape.hidden);
        let inputs = shape.inputs(hidden, hidden);
        let f = |inputs: &[Vec<f64>]| {
            let normed = formula::layer_norm(&inputs[0], &inputs[1], &inputs[2], f64::from(EPS));
            let inner = formula::plus(&formula::product(&normed, &inputs[3], d), &inputs[4]);
            let active: Vec<f64> = inner.into_iter().map(formula::gelu).collect();
            let out = formula::plus(&formula::product(&active, &inputs[5], hidden), &inputs[6]);
            formula::plus(&out, &inputs[0])
        };
        let (y, saved) = mae_kernels::mlp_branch(&inputs[0], branch(&inputs), EPS);
        assert_near("mlp branch", &y, &f(&inputs.iter().map(|x| wide(x)).collect::<Vec<_>>()));
        let grad = random(y.len(), 99);
        let (x_grad, grads) = mae_kernels::mlp_branch_backward(&grad, &inputs[0], branch(&inputs), &saved);
        check_gradients(&inputs, &grad, [x_grad].into_iter().chain(grads), &f);
    }
}

#[test]
fn linear_and_its_gradients() {
    for (rows, d_in, d_out) in [(1, 1, 1), (7, 5, 3), (33, 17, 65), (130, 3, 2)] {
        let inputs = [random(rows * d_in, 0), random(d_in * d_out, 1), random(d_out, 2)];
        let f =
            |inputs: &[Vec<f64>]| formula::plus(&formula::product(&inputs[0], &inputs[1], d_in), &inputs[2]);
        let y = mae_kernels::linear(&inputs[0], &inputs[1], &inputs[2], ProductType::F32);
        assert_near("linear", &y, &f(&inputs.each_ref().map(|x| wide(x))));
        let grad = random(y.len(), 99);
        let (weight, bias) = mae_kernels::linear_backward(&grad, &inputs[0], d_in, d_out, ProductType::F32);
        let x = mae_kernels::linear_input_backward(&grad, &inputs[1], d_out, ProductType::F32);
        check_gradients(&inputs, &grad, [x, weight, bias], &f);
    }
}

#[test]
fn batch_norm_and_its_gradients() {
    for activation in [Nonlinearity::Identity, Nonlinearity::Relu, Nonlinearity::Gelu] {
        let of = match activation {
            Nonlinearity::Identity => |x| x,
            Nonlinearity::Relu => |x: f64| x.max(0.0),
            Nonlinearity::Gelu => formula::gelu,
        };
        for (rows, channels) in [(5, 1), (9, 3), (40, 17)] {
            let inputs = [random(rows * channels, 0), random(channels, 1), random(channels, 2)];
            let f = |inputs: &[Vec<f64>]| {
                formula::batch_norm(&inputs[0], &inputs[1], &inputs[2], f64::from(EPS), of)
            };
            let [x, weight, bias] = &inputs;
            let moments = ChannelMoments::new(x, channels);
            let norm = ChannelNorm { moments: &moments, weight, bias, eps: EPS, activation };
            let y = mae_kernels::batch_norm(x, norm);
            assert_near("batch norm", &y, &f(&inputs.each_ref().map(|x| wide(x))));
            let grad = random(y.len(), 99);
            check_gradients(&inputs, &grad, mae_kernels::batch_norm_backward(&grad, x, norm), &f);
        }
    }
}

/// Takes values far from zero, in more rows than a chunk has.
#[test]
fn moments_of_many_rows_are_those_of_all() {
    let (rows, channels) = (20_011, 3);
    let x: Vec<f32> =
        random(rows * channels, 0).iter().enumerate().map(|(i, x)| x + (1000 * (i % 3)) as f32).collect();
    let moments = ChannelMoments::new(&x, channels);
    for c in 0..channels {
        let column = || x.iter().skip(c).step_by(channels).map(|x| f64::from(*x));
        let mean = column().sum::<f64>() / rows as f64;
        let var = column().map(|x| (x - mean).powi(2)).sum::<f64>() / rows as f64;
        assert!((f64::from(moments.mean[c]) - mean).abs() < 1e-4, "{} is not {mean}", moments.mean[c]);
        assert!((f64::from(moments.var[c]) / var - 1.0).abs() < 1e-4, "{} is not {var}", moments.var[c]);
    }
}

#[test]
fn the_cross_entropy_and_its_gradient() {
    for (rows, count) in [(1, 2), (5, 3), (3, 21)] {
        let scores: Vec<f32> = random(rows * count, 0).iter().map(|score| 20.0 * score).collect();
        let classes: Vec<u32> = (0..rows).map(|row| (5 * row % count) as u32).collect();
        // One row has no weight.
        let weights: Vec<f32> = (0..rows).map(|row| [1.0, 2.5, 0.0][row % 3]).collect();
        let f = |inputs: &[Vec<f64>]| {
            let of_row = |(row, scores): (usize, &[f64])| {
                let all: f64 = scores.iter().map(|score| score.exp()).sum();
                f64::from(weights[row]) * (all.ln() - scores[classes[row] as usize])
            };
            let sum: f64 = inputs[0].chunks_exact(count).enumerate().map(of_row).sum();
            vec![sum / f64::from(weights.iter().sum::<f32>())]
        };
        let (loss, grad) = mae_kernels::cross_entropy(&scores, &classes, &weights);
        assert_near("loss", &[loss], &f(&[wide(&scores)]));
        check_gradients(&[scores], &[1.0], [grad], &f);
    }
    let (loss, grad) = mae_kernels::cross_entropy(&[1.0, 2.0], &[0], &[0.0]);
    assert_eq!((loss, &*grad), (0.0, &[0.0, 0.0][..]));
}

#[test]
fn weighted_sums_and_their_gradients() {
    let matrix: [f32; 12] = [0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.25, 0.5, 0.25, 0.0, 0.0, 1.0];
    let taps = Taps::new(&matrix, 3);
    for (count, len) in [(1, 1), (2, 5), (700, 33)] {
        let x = random(count * 3 * len, 0);
        let f = |inputs: &[Vec<f64>]| {
            let mut y = Vec::new();
            for axis in inputs[0].chunks_exact(3 * len) {
                for (output, i) in (0..4 * len).map(|j| (j / len, j % len)) {
                    let tap = |input: usize| f64::from(matrix[3 * output + input]) * axis[input * len + i];
                    y.push((0..3).map(tap).sum());
                }
            }
            y
        };
        let y = mae_kernels::mix_rows(&x, &taps, len);
        assert_near("mixed", &y, &f(&[wide(&x)]));
        if count < 100 {
            let grad = random(y.len(), 99);
            let of_x = mae_kernels::mix_rows(&grad, &taps.transposed(), len);
            check_gradients(&[x], &grad, [of_x], &f);
        }
    }
}

#[test]
fn the_reconstruction_loss_and_its_gradient() {
    for (rows, cols, eps) in [(3, 12, None), (5, 27, Some(1e-6_f32)), (1, 2, Some(1e-2))] {
        let (pred, patches) = (random(rows * cols, 0), random(rows * cols, 1));
        let f =
            |inputs: &[Vec<f64>]| vec![formula::loss(&inputs[0], &wide(&patches), cols, eps.map(f64::from))];
        let (loss, difference) = mae_kernels::reconstruction(&pred, &patches, cols, eps);
        assert_near("loss", &[loss], &f(&[wide(&pred)]));
        let mut grad = Buffer::any(pred.len());
        mae_kernels::reconstruction_backward(&mut grad, &difference, 0.5);
        check_gradients(&[pred], &[0.5], [grad], &f);
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads_or_on_what_ran_before() {
    for len in [13, 37] {
        let shape = Shape { batch: 5, heads: Heads { len, queries: len, num: 3, dim: 32 }, hidden: 385 };
        let (d, hidden) = (shape.width(), shape.hidden);
        let inputs = shape.inputs(3 * d, d);
        let mlp = shape.inputs(hidden, hidden);
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let (y, saved) = mae_kernels::attention_branch(&inputs[0], branch(&inputs), shape.heads, EPS);
                let (x_grad, grads) = mae_kernels::attention_branch_backward(
                    &y,
                    &inputs[0],
                    branch(&inputs),
                    shape.heads,
                    &saved,
                );
                let (z, saved) = mae_kernels::mlp_branch(&y, branch(&mlp), EPS);
                let (z_grad, mlp_grads) = mae_kernels::mlp_branch_backward(&z, &y, branch(&mlp), &saved);
                let all = [y, x_grad, z, z_grad].into_iter().chain(grads).chain(mlp_grads);
                let bits = |buffer: Buffer| buffer.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
                (all.map(bits).collect::<Vec<_>>(), mae_kernels::sum_of_squares(&inputs[3]).to_bits())
            })
        };
        let first = run(2);
        assert!(first == run(2), "again");
        assert!(first == run(1), "one thread");
        assert!(first == run(3), "three threads");
    }
}
