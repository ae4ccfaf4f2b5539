//! A training step by operation: each kernel is timed alone, at the sizes that the model calls it with.

use std::hint::black_box;
use std::time::Instant;

use mae_kernels::ProductType::F32;
use mae_kernels::{AdamWUpdate, Branch, BranchGradients, Buffer, Heads, Mat, Threads, Write};
use mae_model::{Mae, MaeConfig, list_params};
use mae_vit::{InitRng, StackConfig};

/// The cost of one operation in a step.
struct Row {
    name: String,
    /// Calls per step.
    calls: usize,
    /// The median time of one call.
    seconds: f64,
    /// Floating-point operations of one call's matrix products.
    flops: f64,
    /// The minimum of bytes that one call reads and writes: operands and results, once each.
    bytes: f64,
}

/// Returns a table of all operations, each timed `rounds` times, and of the whole step, which takes `step_s` seconds.
pub fn table(model: &Mae, batch: usize, kept: usize, step_s: f64, rounds: usize) -> String {
    let rows = rows(model, batch, kept, rounds);
    let mut text = String::from(
        "| operation | calls | ms | share of the step | GFLOP/s | GB/s |\n|---|---|---|---|---|---|\n",
    );
    let mut line = |name: &str, calls: usize, total_s: f64, flops: f64, bytes: f64| {
        let rate =
            |amount: f64| if amount > 0.0 { format!("{:.1}", amount / total_s / 1e9) } else { String::new() };
        let (ms, share) = (1e3 * total_s, 100.0 * total_s / step_s);
        let share = if calls > 0 { format!("{share:.1}%") } else { String::new() };
        text += &format!("| {name} | {calls} | {ms:.2} | {share} | {} | {} |\n", rate(flops), rate(bytes));
    };
    let (mut total_s, mut total_flops) = (0.0, 0.0);
    for Row { name, calls, seconds, flops, bytes } in &rows {
        let times = (*calls).max(1) as f64;
        line(name, *calls, times * seconds, times * flops, times * bytes);
        total_s += *calls as f64 * seconds;
        total_flops += *calls as f64 * flops;
    }
    line("the rest: gathers, sums, graph, normalising", 1, step_s - total_s, 0.0, 0.0);
    line("the step", 1, step_s, total_flops, 0.0);
    text
}

fn rows(model: &Mae, batch: usize, kept: usize, rounds: usize) -> Vec<Row> {
    let config = model.config();
    let (patches, patch_dim) = (config.geometry.num_patches(), config.geometry.patch_dim());
    let masked = batch * (patches - kept);
    let [encoder, decoder] = [&config.encoder, &config.decoder];
    let mut rows = vec![sgemm(rounds)];
    rows.extend(linear("patch embedding", batch * kept, patch_dim, encoder.embed_dim, false, rounds));
    rows.extend(tower("encoder", encoder, encoder.depth, batch, (1 + kept, 1 + kept), rounds));
    let embedded = batch * (1 + kept);
    rows.extend(linear("decoder embedding", embedded, encoder.embed_dim, decoder.embed_dim, true, rounds));
    let (len, before_last) = (1 + patches, decoder.depth.saturating_sub(1));
    if before_last > 0 {
        rows.extend(tower("decoder", decoder, before_last, batch, (len, len), rounds));
    }
    rows.extend(tower("last decoder block's", decoder, 1, batch, (len, patches - kept), rounds));
    rows.extend(linear("prediction", masked, decoder.embed_dim, patch_dim, true, rounds));
    rows.push(loss(masked, patch_dim, config, rounds));
    rows.push(adamw(list_params(model).iter().map(|param| param.shape.iter().product()).collect(), rounds));
    rows
}

fn random(len: usize) -> Vec<f32> {
    InitRng::new(len as u64).uniform(len, 0.1)
}

/// The median seconds of a call.
fn time<T>(rounds: usize, mut f: impl FnMut() -> T) -> f64 {
    black_box(f()); // fills the pool of buffers
    let mut seconds: Vec<f64> = (0..rounds)
        .map(|_| {
            let began = Instant::now();
            black_box(f());
            began.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    seconds[rounds / 2]
}

fn row(name: impl Into<String>, calls: usize, seconds: f64, flops: f64, numbers: usize) -> Row {
    Row { name: name.into(), calls, seconds, flops, bytes: 4.0 * numbers as f64 }
}

/// Times the product of two square matrices, a reference for the other rates. It is not part of a step.
fn sgemm(rounds: usize) -> Row {
    const SIDE: usize = 1024;
    let (a, b, mut out) = (random(SIDE * SIDE), random(SIDE * SIDE), Buffer::any(SIDE * SIDE));
    let seconds = time(rounds, || {
        let (a, b) = (Mat::dense(&a, SIDE), Mat::dense(&b, SIDE));
        mae_kernels::matmul(&mut out, SIDE, a, b, Write::Set, Threads::All);
    });
    row("sgemm, 1024 x 1024 x 1024", 0, seconds, 2.0 * (SIDE as f64).powi(3), 3 * SIDE * SIDE)
}

fn linear(name: &str, rows: usize, d_in: usize, d_out: usize, input_grad: bool, rounds: usize) -> [Row; 2] {
    let (x, weight, bias, grad) =
        (random(rows * d_in), random(d_in * d_out), random(d_out), random(rows * d_out));
    let flops = 2.0 * (rows * d_in * d_out) as f64;
    let forward = time(rounds, || mae_kernels::linear(&x, &weight, &bias, F32));
    let backward = time(rounds, || {
        let x_grad = input_grad.then(|| mae_kernels::linear_input_backward(&grad, &weight, d_out, F32));
        (x_grad, mae_kernels::linear_backward(&grad, &x, d_in, d_out, F32))
    });
    let products = 1 + usize::from(input_grad);
    let numbers = x.len() + weight.len() + grad.len();
    [
        row(format!("{name}, forward"), 1, forward, flops, numbers),
        row(format!("{name}, backward"), 1, backward, products as f64 * flops, products * numbers),
    ]
}

/// Parameters of a branch from `width` to `inner`, and from `mixed` back.
fn parameters(width: usize, inner: usize, mixed: usize) -> [Vec<f32>; 6] {
    [width, width, width * inner, inner, mixed * width, width].map(random)
}

fn branch(params: &[Vec<f32>; 6]) -> Branch<'_> {
    let [norm_weight, norm_bias, in_weight, in_bias, out_weight, out_bias] = params;
    Branch { norm_weight, norm_bias, in_weight, in_bias, out_weight, out_bias, products: F32 }
}

/// The four operations of `depth` blocks of a tower.
fn tower(
    name: &str,
    stack: &StackConfig,
    depth: usize,
    batch: usize,
    (len, queries): (usize, usize),
    rounds: usize,
) -> [Row; 4] {
    let (width, hidden, rows) = (stack.embed_dim, stack.mlp_dim, batch * len);
    let heads = Heads { len, queries, num: stack.num_heads, dim: width / stack.num_heads };
    let asking = batch * queries;
    let (x, grad) = (random(rows * width), random(asking * width));
    let eps = 1e-6;

    let params = parameters(width, 3 * width, width);
    let weights = 4 * width * width;
    let products = rows * 3 * width * width + asking * width * width;
    let flops = (2 * products + 4 * asking * len * width) as f64;
    let (_, saved) = mae_kernels::attention_branch(&x, branch(&params), heads, eps);
    let forward = time(rounds, || mae_kernels::attention_branch(&x, branch(&params), heads, eps));
    let backward = time(rounds, || -> (Buffer, BranchGradients) {
        mae_kernels::attention_branch_backward(&grad, &x, branch(&params), heads, &saved)
    });
    // Input, output, and the queries, keys, values and mixed values that the backward pass reads. Scores are never
    // moved to or from memory.
    let moved = rows * 6 * width + weights;
    // The backward pass has twice the products of the forward pass and computes the scores once more.
    let twice = 2.0 * flops + (2 * asking * len * width) as f64;
    let attention = [
        row(format!("{name} attention, forward"), depth, forward, flops, moved),
        row(
            format!("{name} attention, backward"),
            depth,
            backward,
            twice,
            moved + rows * 4 * width + weights,
        ),
    ];

    let params = parameters(width, hidden, hidden);
    let weights = 2 * width * hidden;
    let flops = (2 * asking * weights) as f64;
    let x = random(asking * width);
    let (_, saved) = mae_kernels::mlp_branch(&x, branch(&params), eps);
    let forward = time(rounds, || mae_kernels::mlp_branch(&x, branch(&params), eps));
    let backward = time(rounds, || mae_kernels::mlp_branch_backward(&grad, &x, branch(&params), &saved));
    let moved = asking * (2 * width + hidden) + weights;
    let [attention_forward, attention_backward] = attention;
    [
        attention_forward,
        attention_backward,
        row(format!("{name} MLP, forward"), depth, forward, flops, moved),
        row(format!("{name} MLP, backward"), depth, backward, 2.0 * flops, moved + asking * width + weights),
    ]
}

fn loss(rows: usize, patch_dim: usize, config: &MaeConfig, rounds: usize) -> Row {
    let (pred, patches) = (random(rows * patch_dim), random(rows * patch_dim));
    let eps = config.norm_pix_loss.then_some(1e-6);
    let seconds = time(rounds, || {
        let (_, difference) = mae_kernels::reconstruction(&pred, &patches, patch_dim, eps);
        let mut grad = Buffer::any(difference.len());
        mae_kernels::reconstruction_backward(&mut grad, &difference, 1.0);
        grad
    });
    row("loss, forward and backward", 1, seconds, 0.0, 4 * pred.len())
}

fn adamw(lens: Vec<usize>, rounds: usize) -> Row {
    let step = AdamWUpdate { betas: (0.9, 0.95), eps: 1e-8, keep: 1.0, lr: 1e-3, time: 1 };
    let total: usize = lens.iter().sum();
    let squares = |len| random(len).into_iter().map(|x| x * x).collect::<Vec<f32>>();
    let mut tensors: Vec<[Vec<f32>; 4]> =
        lens.into_iter().map(|len| [random(len), random(len), random(len), squares(len)]).collect();
    let seconds = time(rounds, || {
        for [grad, param, first, second] in &mut tensors {
            mae_kernels::adamw(grad, param, first, second, &step);
        }
    });
    row("AdamW", 1, seconds, 0.0, 7 * total)
}
