//! Prints a table of the cost per token of a block, forward and backward, by the number of tokens and the width.
#![allow(clippy::print_stdout, reason = "a program that prints a table")]

use std::hint::black_box;
use std::time::Instant;

use mae_kernels::{Branch, Heads, ProductType};

/// Widths and heads from ViT-Ti to ViT-L.
const MODELS: [(&str, usize, usize); 4] =
    [("ViT-Ti", 192, 3), ("ViT-S", 384, 6), ("ViT-B", 768, 12), ("ViT-L", 1024, 16)];
/// Tokens per image.
const TOKENS: [usize; 7] = [49, 100, 196, 400, 576, 784, 1024];
/// Approximate tokens per batch: enough for the matrix products to run at full speed.
const BATCH_TOKENS: usize = 2048;
const ROUNDS: usize = 3;

fn main() {
    println!("| model | tokens | attention, µs a token | MLP, µs a token | attention / MLP |");
    println!("|---|---|---|---|---|");
    for (name, width, num) in MODELS {
        let mut overtaken = None;
        for len in TOKENS {
            let heads = Heads { len, queries: len, num, dim: width / num };
            let rows = BATCH_TOKENS.div_ceil(len) * len;
            let (x, grad) = (ramp(rows * width), ramp(rows * width));
            let params = parameters(width, 3 * width, width);
            let attention = time(|| {
                let (y, saved) = mae_kernels::attention_branch(&x, branch(&params), heads, 1e-6);
                (y, mae_kernels::attention_branch_backward(&grad, &x, branch(&params), heads, &saved))
            });
            let params = parameters(width, 4 * width, 4 * width);
            let mlp = time(|| {
                let (y, saved) = mae_kernels::mlp_branch(&x, branch(&params), 1e-6);
                (y, mae_kernels::mlp_branch_backward(&grad, &x, branch(&params), &saved))
            });
            let micros = |seconds: f64| 1e6 * seconds / rows as f64;
            let (attention, mlp) = (micros(attention), micros(mlp));
            println!("| {name} | {len} | {attention:.1} | {mlp:.1} | {:.2} |", attention / mlp);
            if attention > mlp {
                overtaken.get_or_insert(len);
            }
        }
        match overtaken {
            Some(len) => println!("| {name} | | | | attention overtakes the MLP by {len} tokens |"),
            None => println!("| {name} | | | | the MLP costs more at all of these |"),
        }
        mae_kernels::release_idle();
    }
}

/// Returns values between -0.1 and 0.1; no two neighbours are equal.
fn ramp(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919) % 2003) as f32 / 10_015.0 - 0.1).collect()
}

fn parameters(width: usize, inner: usize, mixed: usize) -> [Vec<f32>; 6] {
    [width, width, width * inner, inner, mixed * width, width].map(ramp)
}

fn branch(params: &[Vec<f32>; 6]) -> Branch<'_> {
    let [norm_weight, norm_bias, in_weight, in_bias, out_weight, out_bias] = params;
    Branch { norm_weight, norm_bias, in_weight, in_bias, out_weight, out_bias, products: ProductType::F32 }
}

/// Returns the median time of a call in seconds, after one call that fills the pool of buffers.
fn time<T>(mut f: impl FnMut() -> T) -> f64 {
    black_box(f());
    let mut seconds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            black_box(f());
            began.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    seconds[ROUNDS / 2]
}
