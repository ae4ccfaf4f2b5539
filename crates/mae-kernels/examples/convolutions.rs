//! Prints a table of the times of 3 x 3 convolutions and their gradients at the sizes of a segmentation head.
#![allow(clippy::print_stdout, reason = "a program that prints a table")]

use std::hint::black_box;
use std::time::Instant;

use mae_kernels::{Map, ProductType, conv3x3, conv3x3_input_backward, conv3x3_weight_backward};

/// Name, rows and columns, and channels in and out: UPerNet with 128 channels on ViT-Ti/16 at 128 px.
const SHAPES: [(&str, [usize; 2], [usize; 2]); 6] = [
    ("fusion", [32, 32], [512, 128]),
    ("finest map", [32, 32], [128, 128]),
    ("second map", [16, 16], [128, 128]),
    ("third map", [8, 8], [128, 128]),
    ("pooled map", [4, 4], [704, 128]),
    ("auxiliary head", [8, 8], [192, 256]),
];
const BATCH: usize = 8;
/// Runs per measurement. The fastest is shown, because other load on the machine disturbs it least.
const RUNS: usize = 9;

fn main() {
    println!("{} threads, batch {BATCH}, f32; ms, and GFLOP/s of the plain sum\n", rayon_threads());
    println!("| convolution | map | channels | forward | by input | by weight |\n|---|---|---|---|---|---|");
    for (name, [height, width], [c_in, c_out]) in SHAPES {
        let map = Map { batch: BATCH, height, width };
        let pixels = BATCH * height * width;
        let numbers = |len: usize| (0..len).map(|i| (i % 97) as f32 / 97.0 - 0.5).collect::<Vec<f32>>();
        let (x, weight, grad) = (numbers(pixels * c_in), numbers(9 * c_in * c_out), numbers(pixels * c_out));
        let (channels, products) = ([c_in, c_out], ProductType::F32);
        let work = 2.0 * 9.0 * (pixels * c_in * c_out) as f64;
        let shown = |mut run: Box<dyn FnMut()>| {
            let times = (0..RUNS + 2)
                .map(|_| {
                    let began = Instant::now();
                    run();
                    began.elapsed().as_secs_f64()
                })
                .skip(2);
            let fastest = times.fold(f64::INFINITY, f64::min);
            format!("{:.2} ({:.0})", 1e3 * fastest, work / fastest / 1e9)
        };
        let (x, weight, grad) = (&*x.leak(), &*weight.leak(), &*grad.leak());
        println!(
            "| {name} | {height} x {width} | {c_in} to {c_out} | {} | {} | {} |",
            shown(Box::new(move || drop(black_box(conv3x3(x, weight, map, channels, products))))),
            shown(Box::new(move || drop(black_box(conv3x3_input_backward(
                grad, weight, map, channels, products
            ))))),
            shown(Box::new(move || drop(black_box(conv3x3_weight_backward(
                grad, x, map, channels, products
            ))))),
        );
    }
}

fn rayon_threads() -> usize {
    std::env::var("RAYON_NUM_THREADS")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}
