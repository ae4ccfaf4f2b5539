//! The two residual branches of a pre-norm transformer block, each as one operation with its own backward pass.
//!
//! A branch keeps what its backward pass cannot cheaply recompute: the input, the row statistics and the output of its
//! first matrix product. The attention branch also keeps the attention output and the log-sum-exps. Normalised rows,
//! attention weights and activations are computed twice.
//!
//! If the weights fit into a core's cache, each task takes a few rows through the whole branch. Otherwise, all threads
//! share each matrix product, whose operands are then packed only once.

use rayon::prelude::*;

use crate::attention::{Attended, Heads, attention, attention_backward};
use crate::gelu::{gelu, gelu_backward};
use crate::gemm::{Mat, ProductType, Threads, Write};
use crate::layer_norm::{layer_norm, layer_norm_again, layer_norm_backward};
use crate::rows::{add, add_bias, sum_rows};
use crate::transpose::transposed;
use crate::{Buffer, on_pool};

/// Maximum elements of the larger weight at which it stays in a core's cache beside a task's rows: 1 MiB.
const CACHED: usize = 256 * 1024;
/// Maximum rows of such a task, rounded up to whole images: enough for products to run at full speed.
const TASK_ROWS: usize = 128;

/// The parameters of a branch: a layer norm and two linear maps. All weights are `[d_in, d_out]`.
#[derive(Clone, Copy)]
pub struct Branch<'a> {
    /// Scale of the norm, `[D]`.
    pub norm_weight: &'a [f32],
    /// Shift of the norm, `[D]`.
    pub norm_bias: &'a [f32],
    /// Weight into the branch: `[D, 3·D]` for attention, `[D, hidden]` for an MLP.
    pub in_weight: &'a [f32],
    /// `[3·D]` or `[hidden]`
    pub in_bias: &'a [f32],
    /// Weight out of the branch: `[D, D]` or `[hidden, D]`.
    pub out_weight: &'a [f32],
    /// `[D]`
    pub out_bias: &'a [f32],
    /// The type to which products with weights, and those for weight gradients, round their factors. Attention's own
    /// products are in f32.
    pub products: ProductType,
}

/// Gradients of a branch's parameters, in the order of the fields of [`Branch`].
pub type BranchGradients = [Buffer; 6];

/// What the attention branch keeps for its backward pass, besides its input.
#[derive(Debug)]
pub struct AttentionSaved {
    stats: Buffer,    // [B·L, 2]
    qkv: Buffer,      // [B·L, 3·D]
    mixed: Buffer,    // [B·Q, D]
    log_sums: Buffer, // [B, N, Q]
}

/// What the MLP branch keeps for its backward pass, besides its input.
#[derive(Debug)]
pub struct MlpSaved {
    stats: Buffer,  // [R, 2]
    hidden: Buffer, // [R, hidden]
}

/// Sums over rows: the gradients of the norm's weight and bias, and of the biases into and out of the branch.
type RowSums = [Buffer; 4];

impl Branch<'_> {
    fn width(&self) -> usize {
        self.norm_weight.len()
    }

    fn norm(&self) -> (&[f32], &[f32]) {
        (self.norm_weight, self.norm_bias)
    }

    /// Returns the rows of a task, which are whole sequences of `len`, and the threads that work on it.
    ///
    /// The number of tasks is close to a power of two, which most numbers of threads divide. With tasks of a fixed size
    /// and a smaller last one, some threads would wait for others.
    fn task(&self, rows: usize, len: usize) -> (usize, Threads) {
        if self.in_weight.len() > CACHED {
            return (rows.max(1), Threads::All);
        }
        let tasks = rows.div_ceil(TASK_ROWS).next_power_of_two();
        ((rows / len).div_ceil(tasks).max(1) * len, Threads::One)
    }

    /// Normalises and maps into the branch, without the bias: the code that reads the result adds it.
    fn enter(&self, inner: &mut [f32], stats: &mut [f32], x: &[f32], eps: f32, threads: Threads) {
        let mut normed = Buffer::any(x.len());
        layer_norm(&mut normed, stats, x, self.norm(), eps, threads);
        let (normed, cols) = (Mat::dense(&normed, self.width()), self.in_bias.len());
        self.products.matmul(inner, cols, normed, Mat::dense(self.in_weight, cols), Write::Set, threads);
    }

    /// Maps out of the branch and adds the input.
    fn leave(&self, y: &mut [f32], x: &[f32], inner: &[f32], threads: Threads) {
        let width = self.width();
        add_bias(y, x, self.out_bias, threads);
        let inner = Mat::dense(inner, self.out_weight.len() / width);
        self.products.matmul(y, width, inner, Mat::dense(self.out_weight, width), Write::Add, threads);
    }

    /// Returns transposed copies of both weights for f32 products, because the `gemm` crate packs a transposed factor
    /// one element at a time. bf16 products need no copies.
    fn transposed(&self) -> Option<[Buffer; 2]> {
        let copies =
            || [transposed(self.in_weight, self.in_bias.len()), transposed(self.out_weight, self.width())];
        (self.products == ProductType::F32).then(copies)
    }

    /// Returns the transposes of both weights, by which the backward pass multiplies.
    fn transposes<'a>(&'a self, copies: &'a Option<[Buffer; 2]>) -> [Mat<'a>; 2] {
        let (width, cols) = (self.width(), self.in_bias.len());
        match copies {
            Some([in_weight, out_weight]) => {
                [Mat::dense(in_weight, width), Mat::dense(out_weight, out_weight.len() / width)]
            }
            None => [Mat::dense(self.in_weight, cols).t(), Mat::dense(self.out_weight, width).t()],
        }
    }

    /// Computes the gradient of `inner` in [`leave`](Self::leave), from the transpose of its weight.
    fn leave_backward(&self, inner_grad: &mut [f32], grad: &[f32], out_weight: Mat<'_>, threads: Threads) {
        let grad = Mat::dense(grad, self.width());
        self.products.matmul(inner_grad, out_weight.cols(), grad, out_weight, Write::Set, threads);
    }

    /// Computes the input gradient from the transpose of [`enter`](Self::enter)'s weight, and adds the residual
    /// gradient if given. Also recomputes the normalised rows. Returns the gradients of the norm's weight and bias.
    fn enter_backward(
        &self,
        (x_grad, normed): (&mut [f32], &mut [f32]),
        (residual, inner_grad): (Option<&[f32]>, &[f32]),
        (x, stats): (&[f32], &[f32]),
        in_weight: Mat<'_>,
        threads: Threads,
    ) -> (Buffer, Buffer) {
        let (width, cols) = (self.width(), self.in_bias.len());
        layer_norm_again(normed, x, stats, self.norm(), threads);
        let inner_grad = Mat::dense(inner_grad, cols);
        self.products.matmul(x_grad, width, inner_grad, in_weight, Write::Set, threads);
        layer_norm_backward(x_grad, x, stats, self.norm_weight, residual, threads)
    }
}

/// Computes `x + proj(attention(qkv(norm(x))))` for the last Q tokens of each image.
///
/// # Shapes
/// `[B, L, D]` → `[B, Q, D]`
pub fn attention_branch(x: &[f32], branch: Branch<'_>, heads: Heads, eps: f32) -> (Buffer, AttentionSaved) {
    let (Heads { len, queries, num, .. }, width) = (heads, branch.width());
    let count = x.len() / width;
    let (rows, threads) = branch.task(count, len);
    let asking = rows.div_ceil(len) * queries;
    let mut y = Buffer::any(count / len * queries * width);
    let mut saved = AttentionSaved {
        stats: Buffer::any(count * 2),
        qkv: Buffer::any(count * 3 * width),
        mixed: Buffer::any(y.len()),
        log_sums: Buffer::any(y.len() / width * num),
    };
    let tasks = y
        .par_chunks_mut(asking * width)
        .zip(x.par_chunks(rows * width))
        .zip(saved.stats.par_chunks_mut(rows * 2).zip(saved.qkv.par_chunks_mut(rows * 3 * width)))
        .zip(saved.mixed.par_chunks_mut(asking * width).zip(saved.log_sums.par_chunks_mut(asking * num)));
    let task = |(((y, x), (stats, qkv)), (mixed, log_sums)): Forward<'_>| {
        branch.enter(qkv, stats, x, eps, threads);
        attention(mixed, log_sums, qkv, branch.in_bias, heads, threads);
        match queries == len {
            true => branch.leave(y, x, mixed, threads),
            false => branch.leave(y, &last_rows(x, heads, width), mixed, threads),
        }
    };
    on_pool(|| tasks.for_each(task));
    (y, saved)
}

type Forward<'a> =
    (((&'a mut [f32], &'a [f32]), (&'a mut [f32], &'a mut [f32])), (&'a mut [f32], &'a mut [f32]));

/// Copies the last Q rows of each image: `[B, L, D]` → `[B, Q, D]`.
fn last_rows(x: &[f32], heads: Heads, width: usize) -> Buffer {
    let mut last = Buffer::any(x.len() / heads.len * heads.queries);
    for (last, x) in last.chunks_exact_mut(heads.queries * width).zip(x.chunks_exact(heads.len * width)) {
        last.copy_from_slice(&x[x.len() - last.len()..]);
    }
    last
}

/// Adds `[B, Q, D]` to the last Q rows of each image.
fn add_to_last_rows(x: &mut [f32], last: &[f32], heads: Heads, width: usize) {
    for (x, last) in x.chunks_exact_mut(heads.len * width).zip(last.chunks_exact(heads.queries * width)) {
        let first = x.len() - last.len();
        add(&mut x[first..], last);
    }
}

/// Computes the gradients of the attention branch's input and parameters.
///
/// # Shapes
/// grad `[B, Q, D]`, x `[B, L, D]` → `[B, L, D]`
pub fn attention_branch_backward(
    grad: &[f32],
    x: &[f32],
    branch: Branch<'_>,
    heads: Heads,
    saved: &AttentionSaved,
) -> (Buffer, BranchGradients) {
    let (Heads { len, queries, num, .. }, width) = (heads, branch.width());
    let (rows, threads) = branch.task(x.len() / width, len);
    let asking = rows.div_ceil(len) * queries;
    let [mut x_grad, mut normed] = [Buffer::any(x.len()), Buffer::any(x.len())];
    let mut qkv_grad = Buffer::any(saved.qkv.len());
    on_pool(|| {
        let copies = branch.transposed();
        let [in_weight, out_weight] = branch.transposes(&copies);
        let sums: Vec<RowSums> = x_grad
            .par_chunks_mut(rows * width)
            .zip(normed.par_chunks_mut(rows * width))
            .zip(qkv_grad.par_chunks_mut(rows * 3 * width))
            .zip(grad.par_chunks(asking * width).zip(x.par_chunks(rows * width)))
            .enumerate()
            .map(|(i, (((x_grad, normed), qkv_grad), (grad, x)))| {
                let part = |of: &Buffer, size: usize| i * size..of.len().min((i + 1) * size);
                let stats = &saved.stats[part(&saved.stats, rows * 2)];
                let attended = Attended {
                    qkv: &saved.qkv[part(&saved.qkv, rows * 3 * width)],
                    bias: branch.in_bias,
                    out: &saved.mixed[part(&saved.mixed, asking * width)],
                    log_sums: &saved.log_sums[part(&saved.log_sums, asking * num)],
                };
                let mut mixed_grad = Buffer::any(grad.len());
                branch.leave_backward(&mut mixed_grad, grad, out_weight, threads);
                attention_backward(qkv_grad, &mixed_grad, attended, heads, threads);
                let residual = (queries == len).then_some(grad);
                let norm = branch.enter_backward(
                    (x_grad, normed),
                    (residual, qkv_grad),
                    (x, stats),
                    in_weight,
                    threads,
                );
                if residual.is_none() {
                    add_to_last_rows(x_grad, grad, heads, width);
                }
                [norm.0, norm.1, sum_rows(qkv_grad, 3 * width, threads), sum_rows(grad, width, threads)]
            })
            .collect();
        drop(copies); // frees memory for the weight gradients
        let [norm_weight, norm_bias, in_bias, out_bias] = total(sums);
        let in_weight = weight_gradient(&normed, width, &qkv_grad, 3 * width, branch.products);
        let out_weight = weight_gradient(&saved.mixed, width, grad, width, branch.products);
        (x_grad, [norm_weight, norm_bias, in_weight, in_bias, out_weight, out_bias])
    })
}

/// Computes `x + fc2(GELU(fc1(norm(x))))`.
///
/// # Shapes
/// `[.., D]` → `[.., D]`
pub fn mlp_branch(x: &[f32], branch: Branch<'_>, eps: f32) -> (Buffer, MlpSaved) {
    let (width, cols) = (branch.width(), branch.in_bias.len());
    let count = x.len() / width;
    let (rows, threads) = branch.task(count, 1);
    let mut y = Buffer::any(x.len());
    let mut saved = MlpSaved { stats: Buffer::any(count * 2), hidden: Buffer::any(count * cols) };
    let tasks = y
        .par_chunks_mut(rows * width)
        .zip(x.par_chunks(rows * width))
        .zip(saved.stats.par_chunks_mut(rows * 2).zip(saved.hidden.par_chunks_mut(rows * cols)));
    on_pool(|| {
        tasks.for_each(|((y, x), (stats, hidden))| {
            branch.enter(hidden, stats, x, eps, threads);
            let mut active = Buffer::any(hidden.len());
            gelu(&mut active, hidden, branch.in_bias, threads);
            branch.leave(y, x, &active, threads);
        });
    });
    (y, saved)
}

/// Computes the gradients of the MLP branch's input and parameters.
pub fn mlp_branch_backward(
    grad: &[f32],
    x: &[f32],
    branch: Branch<'_>,
    saved: &MlpSaved,
) -> (Buffer, BranchGradients) {
    let (width, cols) = (branch.width(), branch.in_bias.len());
    let (rows, threads) = branch.task(x.len() / width, 1);
    let [mut x_grad, mut normed] = [Buffer::any(x.len()), Buffer::any(x.len())];
    let [mut hidden_grad, mut active] = [Buffer::any(saved.hidden.len()), Buffer::any(saved.hidden.len())];
    on_pool(|| {
        let copies = branch.transposed();
        let [in_weight, out_weight] = branch.transposes(&copies);
        let sums: Vec<RowSums> = x_grad
            .par_chunks_mut(rows * width)
            .zip(normed.par_chunks_mut(rows * width))
            .zip(hidden_grad.par_chunks_mut(rows * cols).zip(active.par_chunks_mut(rows * cols)))
            .zip(grad.par_chunks(rows * width).zip(x.par_chunks(rows * width)))
            .zip(saved.hidden.par_chunks(rows * cols).zip(saved.stats.par_chunks(rows * 2)))
            .map(|((((x_grad, normed), (hidden_grad, active)), (grad, x)), (hidden, stats))| {
                branch.leave_backward(hidden_grad, grad, out_weight, threads);
                let in_bias = gelu_backward(hidden_grad, active, hidden, branch.in_bias, threads);
                let norm = branch.enter_backward(
                    (x_grad, normed),
                    (Some(grad), hidden_grad),
                    (x, stats),
                    in_weight,
                    threads,
                );
                [norm.0, norm.1, in_bias, sum_rows(grad, width, threads)]
            })
            .collect();
        drop(copies); // frees memory for the weight gradients
        let [norm_weight, norm_bias, in_bias, out_bias] = total(sums);
        let in_weight = weight_gradient(&normed, width, &hidden_grad, cols, branch.products);
        let out_weight = weight_gradient(&active, cols, grad, width, branch.products);
        (x_grad, [norm_weight, norm_bias, in_weight, in_bias, out_weight, out_bias])
    })
}

/// Adds up the tasks' sums, in order.
fn total(tasks: Vec<RowSums>) -> RowSums {
    tasks
        .into_iter()
        .reduce(|mut total, task| {
            for (total, task) in total.iter_mut().zip(&task) {
                for (total, task) in total.iter_mut().zip(task.iter()) {
                    *total += task;
                }
            }
            total
        })
        .unwrap_or_else(|| std::array::from_fn(|_| Buffer::zeros(0)))
}

/// Computes `xᵀ · grad`: `[R, d_in]` and `[R, d_out]` → `[d_in, d_out]`.
pub(crate) fn weight_gradient(
    x: &[f32],
    d_in: usize,
    grad: &[f32],
    d_out: usize,
    products: ProductType,
) -> Buffer {
    let mut out = Buffer::any(d_in * d_out);
    let (x, grad) = (Mat::dense(x, d_in).t(), Mat::dense(grad, d_out));
    products.matmul(&mut out, d_out, x, grad, Write::Set, Threads::All);
    out
}
