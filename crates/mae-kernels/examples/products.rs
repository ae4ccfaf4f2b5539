//! Prints a table of the rates of f32 and bf16 matrix products at the sizes of a training step.
#![allow(clippy::print_stdout, reason = "a program that prints a table")]

use std::hint::black_box;
use std::time::Instant;

use mae_kernels::{Bf16, Mat, Threads, Write, bf16_products, matmul, matmul_bf16};

/// Name; rows, inner size and columns; whether the first factor is transposed, as in a weight gradient.
///
/// ViT-B/16 and its decoder at batch size 8 with a quarter of the patches kept, and ViT-Ti/16 at batch size 16.
const PRODUCTS: [(&str, [usize; 3], bool); 14] = [
    ("square", [4096, 4096, 4096], false),
    ("ViT-B, qkv", [400, 768, 2304], false),
    ("ViT-B, proj", [400, 768, 768], false),
    ("ViT-B, fc1", [400, 768, 3072], false),
    ("ViT-B, fc2", [400, 3072, 768], false),
    ("decoder, qkv", [1576, 512, 1536], false),
    ("decoder, fc1", [1576, 512, 2048], false),
    ("decoder, fc2", [1576, 2048, 512], false),
    ("ViT-B, gradient of fc1", [768, 400, 3072], true),
    ("ViT-B, gradient of fc2", [3072, 400, 768], true),
    ("decoder, gradient of fc1", [512, 1576, 2048], true),
    ("ViT-Ti, qkv", [800, 192, 576], false),
    ("ViT-Ti, fc1", [800, 192, 768], false),
    ("ViT-Ti, fc2", [800, 768, 192], false),
];
/// The number of rounds, unless the first argument gives it.
const ROUNDS: usize = 15;
/// Minimum operations of each kind in a round: about 10 ms.
const ROUND: f64 = 2e9;

fn main() {
    let rounds = std::env::args().nth(1).map_or(ROUNDS, |x| x.parse().expect("a number of rounds"));
    println!("bf16: {}; {} threads; GFLOP/s, median (best) of {rounds} rounds", bf16_products(), threads());
    println!();
    println!(
        "| product | rows × inner × columns | f32 | bf16, f32 factors | bf16, bf16 factors | bf16 / f32 |"
    );
    println!("|---|---|---|---|---|---|");
    for (name, size, transposed) in PRODUCTS {
        let [f32, rounding, bf16] = rates(size, transposed, rounds).map(|mut rates| {
            rates.sort_by(f64::total_cmp);
            (rates[rates.len() / 2], rates[rates.len() - 1])
        });
        let [rows, inner, cols] = size;
        let shown = |(median, best): (f64, f64)| format!("{median:.0} ({best:.0})");
        let (f32_shown, rounding_shown, bf16_shown) = (shown(f32), shown(rounding), shown(bf16));
        println!(
            "| {name} | {rows} × {inner} × {cols} | {f32_shown} | {rounding_shown} | {bf16_shown} | {:.2} |",
            rounding.0 / f32.0
        );
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Returns the rates of each round: of f32 products, and of bf16 products with f32 and with bf16 factors.
fn rates([rows, inner, cols]: [usize; 3], transposed: bool, rounds: usize) -> [Vec<f64>; 3] {
    let (a, b) = (ramp(rows * inner), ramp(inner * cols));
    let (a_bf16, b_bf16) = (rounded(&a), rounded(&b));
    let (a, a_bf16) = if transposed {
        (Mat::dense(&a, rows).t(), Mat::dense(&a_bf16, rows).t())
    } else {
        (Mat::dense(&a, inner), Mat::dense(&a_bf16, inner))
    };
    let (b, b_bf16) = (Mat::dense(&b, cols), Mat::dense(&b_bf16, cols));
    let mut out = vec![0.0; rows * cols];
    let mut multiply = |kind: usize| match kind {
        0 => matmul(black_box(&mut out), cols, a, b, Write::Set, Threads::All),
        1 => matmul_bf16(black_box(&mut out), cols, a, b, Write::Set, Threads::All),
        _ => matmul_bf16(black_box(&mut out), cols, a_bf16, b_bf16, Write::Set, Threads::All),
    };
    let operations = 2.0 * (rows * inner * cols) as f64;
    let calls = (ROUND / operations).ceil() as usize;
    let mut rates = [const { Vec::new() }; 3];
    // Runs on one of rayon's threads, as the crate's own operations do.
    rayon::scope(|_| {
        (0..3).for_each(&mut multiply); // fills the pool of buffers
        for _ in 0..rounds {
            for (kind, rates) in rates.iter_mut().enumerate() {
                let began = Instant::now();
                (0..calls).for_each(|_| multiply(kind));
                rates.push(operations * calls as f64 / began.elapsed().as_secs_f64() / 1e9);
            }
        }
    });
    rates
}

fn rounded(x: &[f32]) -> Vec<Bf16> {
    x.iter().map(|x| Bf16::from(*x)).collect()
}

/// Returns values between -0.1 and 0.1; no two neighbours are equal.
fn ramp(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919) % 2003) as f32 / 10_015.0 - 0.1).collect()
}
