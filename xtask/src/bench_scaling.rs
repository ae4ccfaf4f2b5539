//! `cargo xtask bench scaling`: a model of step time against ranks, fitted to sums over real links, and what it predicts.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::available_parallelism;

use anyhow::Result;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use serde::Deserialize;

use crate::bench_ranks::rate;
use crate::median;
use crate::programs::{build, run, target};

/// What is measured, and what is assumed of the machines that are predicted for.
#[derive(clap::Args)]
pub struct Options {
    /// A folder of images: whole steps on it are held against the model as well.
    #[arg(long)]
    data: Option<PathBuf>,
    /// The rate of each link that is measured, in Mbit/s: slow enough for the cores not to matter.
    #[arg(long, default_value_t = 200)]
    mbit_per_s: u32,
    /// Images per second of one device, by itself.
    #[arg(long, default_value_t = 1000.0)]
    images_per_s: f64,
    /// Images per second that the loader of one device can do.
    #[arg(long, default_value_t = 3000.0)]
    loader_images_per_s: f64,
    /// The spread of a device's step time: deviation by mean.
    #[arg(long, default_value_t = 0.02)]
    jitter: f64,
    /// Gradients in millions: ViT-B's by default.
    #[arg(long, default_value_t = 111.7)]
    millions: f64,
    /// Images of an update, over all devices.
    #[arg(long, default_value_t = 4096)]
    batch: usize,
}

/// A sum that was measured.
#[derive(Deserialize)]
struct Sum {
    numbers: usize,
    seconds: Vec<f64>,
}

/// Bytes that are summed at a time, as `mae_trainer::Mpi` does.
const BUCKET_BYTES: f64 = 25.0 * 1024.0 * 1024.0;

/// Bytes that pass a link in no time.
const SMALL_BYTES: f64 = 1e3;

/// A ring of links: each of its `2 (n - 1)` rounds takes a latency and moves an n-th of a bucket.
#[derive(Clone, Copy)]
struct Ring {
    latency_s: f64,
    bytes_per_s: f64,
}

impl Ring {
    /// Rounds over all buckets, and bytes that a rank sends in them.
    fn work(ranks: usize, bytes: f64) -> (f64, f64) {
        let rounds = 2.0 * (ranks as f64 - 1.0);
        (rounds * (bytes / BUCKET_BYTES).ceil(), rounds / ranks as f64 * bytes)
    }

    fn seconds(self, ranks: usize, bytes: f64) -> f64 {
        let (rounds, sent) = Self::work(ranks, bytes);
        rounds * self.latency_s + sent / self.bytes_per_s
    }

    /// The latency that sums take which are so small that nothing else takes time, then the bandwidth that is left for the
    /// others: the medians over the points.
    fn fit(points: &[(usize, f64, f64)]) -> Self {
        let (small, large): (Vec<_>, Vec<_>) = points.iter().partition(|(_, bytes, _)| *bytes < SMALL_BYTES);
        let latency = |(ranks, bytes, seconds): (usize, f64, f64)| seconds / Self::work(ranks, bytes).0;
        let latency_s = median(&mut small.into_iter().map(latency).collect::<Vec<_>>());
        let bandwidth = |(ranks, bytes, seconds): (usize, f64, f64)| {
            let (rounds, sent) = Self::work(ranks, bytes);
            sent / (seconds - rounds * latency_s)
        };
        Self { latency_s, bytes_per_s: median(&mut large.into_iter().map(bandwidth).collect::<Vec<_>>()) }
    }
}

/// Measures, fits on 3 ranks, checks on 2 and 4, predicts.
pub fn scaling(options: &Options) -> Result<()> {
    build(&["--package=distributed", "--features=mpi", "--bins", "--examples"])?;
    let mut points = Vec::new();
    for hosts in 2..=4 {
        for numbers in [100, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000] {
            let mut command = options.hosts(hosts, "release/examples/all_reduce");
            let mut sum: Sum = run(command.args(["--repeats", "7", "--numbers", &numbers.to_string()]))?;
            points.push((hosts, sum.numbers as f64 * 4.0, median(&mut sum.seconds)));
        }
    }
    // The smallest sums tell the latency, the large ones the bandwidth; in between, TCP's windows have their say.
    let telling = |bytes: f64| bytes < SMALL_BYTES || (4e6..BUCKET_BYTES).contains(&bytes);
    let (fitted, checked): (Vec<_>, Vec<_>) =
        points.iter().partition(|(ranks, bytes, _)| *ranks == 3 && telling(*bytes));
    let ring = Ring::fit(&fitted);
    println!(
        "fitted to 3 hosts: {:.0} us a round, {:.0} Mbit/s a link of {}\n",
        1e6 * ring.latency_s,
        8e-6 * ring.bytes_per_s,
        options.mbit_per_s
    );
    println!("| hosts | MB | measured ms | model ms | error | |\n|---|---|---|---|---|---|");
    for (points, about) in [(fitted, "fitted"), (checked, "not fitted")] {
        for (ranks, bytes, seconds) in points {
            let model = ring.seconds(ranks, bytes);
            println!(
                "| {ranks} | {:.3} | {:.2} | {:.2} | {:+.1}% | {about} |",
                bytes / 1e6,
                1e3 * seconds,
                1e3 * model,
                100.0 * (model / seconds - 1.0)
            );
        }
    }
    if let Some(data) = &options.data {
        steps(options, data, ring)?;
    }
    println!(
        "\n{} images an update, {} images/s a device, {:.1} M gradients in f32, a loader of {} images/s a device, step times \
         that spread by {:.0}%:\n",
        options.batch,
        options.images_per_s,
        options.millions,
        options.loader_images_per_s,
        100.0 * options.jitter
    );
    println!(
        "| devices | link Gbit/s | compute ms | waiting for the slowest ms | sum ms | step ms | efficiency |"
    );
    println!("|---|---|---|---|---|---|---|");
    for devices in [1, 8, 64] {
        for gbit_per_s in [10.0, 100.0, 400.0] {
            let ring = Ring { latency_s: ring.latency_s, bytes_per_s: gbit_per_s / 8.0 * 1e9 };
            let step = simulate(options, ring, devices);
            println!(
                "| {devices} | {gbit_per_s} | {:.0} | {:.1} | {:.1} | {:.0} | {:.1}% |",
                1e3 * step.compute_s,
                1e3 * step.slowest_s,
                1e3 * step.sum_s,
                1e3 * step.total_s(),
                100.0 * step.compute_s / step.total_s()
            );
        }
    }
    Ok(())
}

impl Options {
    /// A program on so many hosts.
    fn hosts(&self, hosts: usize, program: &str) -> Command {
        let mut command = Command::new("scripts/bench_links.sh");
        command.args([hosts.to_string(), self.mbit_per_s.to_string()]).arg(target().join(program));
        command
    }
}

/// Whole steps of ViT-Ti: their computing is fitted to one host with two sizes of batch, their sum is the ring's, and
/// both together are held against more hosts with other sizes.
fn steps(options: &Options, data: &Path, ring: Ring) -> Result<()> {
    let sum: Sum = run(Command::new(target().join("release/examples/all_reduce")).args([
        "--preset",
        "tiny",
        "--repeats",
        "1",
    ]))?;
    let bytes = sum.numbers as f64 * 4.0;
    let cores = available_parallelism().map_or(1, usize::from) as f64;
    let measure = |hosts: usize, batch: usize| -> Result<f64> {
        let rate = rate(options.hosts(hosts, "release/distributed"), data, "tiny", batch, 8)?;
        Ok((hosts * batch) as f64 / rate)
    };
    let (small, large) = (measure(1, 8)?, measure(1, 32)?);
    let image_s = (large - small) / (32.0 - 8.0);
    let fixed_s = small - 8.0 * image_s;
    println!(
        "\nwhole steps of ViT-Ti, {:.1} MB of gradients; fitted to one host: {:.0} ms, and {:.1} ms an image\n",
        bytes / 1e6,
        1e3 * fixed_s,
        1e3 * image_s
    );
    println!("| hosts | images a host | computing ms | sum ms | model ms | measured ms | error |");
    println!("|---|---|---|---|---|---|---|");
    for (hosts, batch) in [(1, 16), (2, 8), (2, 16), (2, 32), (3, 16), (4, 16)] {
        // More hosts than cores take turns on them.
        let compute = (fixed_s + batch as f64 * image_s) * (hosts as f64 / cores).max(1.0);
        let sum = if hosts == 1 { 0.0 } else { ring.seconds(hosts, bytes) };
        let (model, measured) = (compute + sum, measure(hosts, batch)?);
        println!(
            "| {hosts} | {batch} | {:.0} | {:.0} | {:.0} | {:.0} | {:+.1}% |",
            1e3 * compute,
            1e3 * sum,
            1e3 * model,
            1e3 * measured,
            100.0 * (model / measured - 1.0)
        );
    }
    Ok(())
}

/// The mean of many simulated steps.
struct Step {
    compute_s: f64,
    slowest_s: f64,
    sum_s: f64,
}

impl Step {
    fn total_s(&self) -> f64 {
        self.compute_s + self.slowest_s + self.sum_s
    }
}

/// Steps in which every device computes for a time of its own and all then wait for the slowest; a loader that is slower
/// than its device takes the device's place.
fn simulate(options: &Options, ring: Ring, devices: usize) -> Step {
    const STEPS: usize = 2000;
    let images = options.batch as f64 / devices as f64;
    let compute_s = images / options.images_per_s.min(options.loader_images_per_s);
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    // A sum of twelve uniform numbers is close to normal.
    let mut normal = || (0..12).map(|_| f64::from(rng.next_u32()) / f64::from(u32::MAX)).sum::<f64>() - 6.0;
    let slowest = |_| (0..devices).map(|_| normal()).fold(f64::NEG_INFINITY, f64::max);
    let slowest = (0..STEPS).map(slowest).sum::<f64>() / STEPS as f64;
    let bytes = options.millions * 4e6;
    let sum_s = if devices == 1 { 0.0 } else { ring.seconds(devices, bytes) };
    Step { compute_s, slowest_s: compute_s * options.jitter * slowest.max(0.0), sum_s }
}
