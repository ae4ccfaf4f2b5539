//! `cargo xtask bench scaling`: a model of step time against ranks, fitted to sums over real links, and what it predicts.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::available_parallelism;

use anyhow::{Result, ensure};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use serde::Deserialize;

use super::median::median;
use super::ranks::{cropped, rates_of};
use crate::programs::{build, run, target};

/// Options of the benchmark, and assumptions about the machines to predict for.
#[derive(clap::Args)]
pub struct Options {
    /// Folder of images: also compare whole training steps on it with the model.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Rate of each measured link in Mbit/s, slow enough that the cores do not matter.
    #[arg(long, default_value_t = 200)]
    mbit_per_s: u32,
    /// Images per second of one device alone.
    #[arg(long, default_value_t = 1000.0)]
    images_per_s: f64,
    /// Images per second of one device's loader.
    #[arg(long, default_value_t = 3000.0)]
    loader_images_per_s: f64,
    /// Spread of a device's step time: standard deviation divided by mean.
    #[arg(long, default_value_t = 0.02)]
    jitter: f64,
    /// Gradients, in millions; the default is ViT-B's.
    #[arg(long, default_value_t = 111.7)]
    millions: f64,
    /// Images per update, over all devices.
    #[arg(long, default_value_t = 4096)]
    batch: usize,
}

/// A sum that was measured.
#[derive(Deserialize)]
pub struct Sum {
    pub numbers: usize,
    pub seconds: Vec<f64>,
}

/// Bytes of gradients that are sent at a time, as `mae_trainer::bucket_bytes` says.
pub fn bucket_bytes(ranks: usize) -> f64 {
    (1 << 20).max(ranks << 18) as f64
}

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
        (rounds * (bytes / bucket_bytes(ranks)).ceil(), rounds / ranks as f64 * bytes)
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
    let telling = |bytes: f64| !(SMALL_BYTES..4e6).contains(&bytes);
    let (fitted, checked): (Vec<_>, Vec<_>) =
        points.iter().partition(|(ranks, bytes, _)| *ranks == 3 && telling(*bytes));
    let ring = Ring::fit(&fitted);
    println!(
        "fitted to 3 hosts: {:.0} us per round, {:.0} Mbit/s per link of {}\n",
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
        // Small folders would make short epochs, and the loader starts anew with each.
        let copies = Copies::of(data, 100)?;
        let cores = available_parallelism().map_or(1, usize::from) as f64;
        let steps = Steps { options, data: &copies.0, ring, cores };
        steps.computing()?;
        steps.loading()?;
    }
    println!(
        "\n{} images per update, {} images/s per device, {:.1} M gradients in f32, a loader of {} images/s per device, step times \
         with a spread of {:.0}%:\n",
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
        on_hosts(hosts, self.mbit_per_s, program)
    }
}

/// A program on so many hosts of one thread each, behind links of a rate.
pub fn on_hosts(hosts: usize, mbit_per_s: u32, program: &str) -> Command {
    let mut command = Command::new("scripts/bench_links.sh");
    command.args([hosts.to_string(), mbit_per_s.to_string()]).arg(target().join(program));
    command
}

/// What the images of a host cost: a time for each batch and one for each image, in seconds.
#[derive(Clone, Copy)]
struct Line {
    batch_s: f64,
    image_s: f64,
}

impl Line {
    /// Through two points of images and seconds.
    fn through((few, short): (usize, f64), (many, long): (usize, f64)) -> Self {
        let image_s = (long - short) / (many - few) as f64;
        Self { batch_s: short - few as f64 * image_s, image_s }
    }

    fn seconds(self, images: usize) -> f64 {
        self.batch_s + images as f64 * self.image_s
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} ms and {:.2} ms an image", 1e3 * self.batch_s, 1e3 * self.image_s)
    }
}

/// What steps are made of, and how to measure them.
struct Steps<'a> {
    options: &'a Options,
    data: &'a Path,
    ring: Ring,
    cores: f64,
}

impl Steps<'_> {
    /// The seconds of each update after the second, on hosts with so many images each.
    fn seconds(&self, hosts: usize, batch: usize, model: &[&str], updates: usize) -> Result<Vec<f64>> {
        let mut program = self.options.hosts(hosts, "release/distributed");
        // The model adds computing and the sum up: nothing hides.
        program.env("MAE_OVERLAP", "0");
        let rates = rates_of(program, self.data, model, batch, updates)?;
        Ok(rates.iter().map(|rate| (hosts * batch) as f64 / rate).collect())
    }

    /// How long the hosts add up the gradients of a model.
    fn sum_s(&self, hosts: usize, model: &[&str]) -> Result<f64> {
        let mut command = Command::new(target().join("release/examples/all_reduce"));
        let sum: Sum = run(command.args(model).args(["--repeats", "1"]))?;
        Ok(if hosts == 1 { 0.0 } else { self.ring.seconds(hosts, sum.numbers as f64 * 4.0) })
    }

    /// By how much longer each of so many threads computes than one does: more threads than cores take turns on them.
    fn turns(&self, threads: usize) -> f64 {
        (threads as f64 / self.cores).max(1.0)
    }

    /// Steps of ViT-Ti, which computing takes most of: computing is fitted to one host with two sizes of batch, the sum
    /// is the ring's, and both together are held against more hosts with other sizes.
    fn computing(&self) -> Result<()> {
        let model = cropped("tiny");
        let measure =
            |hosts, batch| -> Result<f64> { Ok(median(&mut self.seconds(hosts, batch, &model, 8)?)) };
        let compute = Line::through((8, measure(1, 8)?), (32, measure(1, 32)?));
        println!("\nwhole steps of ViT-Ti; computing fitted to one host: {compute}\n");
        println!("| hosts | images a host | computing ms | sum ms | model ms | measured ms | error |");
        println!("|---|---|---|---|---|---|---|");
        for (hosts, batch) in [(1, 16), (2, 8), (2, 16), (2, 32), (3, 16), (4, 16)] {
            let compute_s = compute.seconds(batch) * self.turns(hosts);
            let sum_s = self.sum_s(hosts, &["--preset", "tiny"])?;
            let (model_s, measured_s) = (compute_s + sum_s, measure(hosts, batch)?);
            println!(
                "| {hosts} | {batch} | {:.0} | {:.0} | {:.0} | {:.0} | {:+.1}% |",
                1e3 * compute_s,
                1e3 * sum_s,
                1e3 * model_s,
                1e3 * measured_s,
                100.0 * (model_s / measured_s - 1.0)
            );
        }
        Ok(())
    }

    /// Steps of a model so small that one host waits for its only worker, which decodes every image anew: what the
    /// worker takes is fitted to one host with two sizes of batch, and held against two hosts and other sizes.
    ///
    /// What such a model computes is fitted beside it, to crops that are decoded once for many.
    fn loading(&self) -> Result<()> {
        let model = ["--preset", "nano", "--patch-size", "16"];
        let measure = |hosts: usize, batch: usize, crops: &str| -> Result<f64> {
            let options = [&model[..], &["--workers", "1", "--repeats", crops]].concat();
            // Images come in bursts: only their mean is a rate.
            let seconds = self.seconds(hosts, batch, &options, 14)?;
            Ok(seconds.iter().sum::<f64>() / seconds.len() as f64)
        };
        let compute = Line::through((32, measure(1, 32, "16")?), (192, measure(1, 192, "16")?));
        let load = Line::through((32, measure(1, 32, "1")?), (192, measure(1, 192, "1")?));
        println!(
            "\nwhole steps of a nano; fitted to one host: computing {compute}; loading, one worker, {load}\n"
        );
        println!(
            "| hosts | images a host | computing ms | sum ms | loading ms | model ms | measured ms | error |"
        );
        println!("|---|---|---|---|---|---|---|---|");
        for (hosts, batch) in [(1, 64), (1, 128), (2, 32), (2, 64), (2, 128), (2, 256)] {
            let (compute_s, load_s) = (compute.seconds(batch), load.seconds(batch));
            let sum_s = self.sum_s(hosts, &model)?;
            // A host has one thread that computes, and polls while gradients travel, and one that loads; where there are no
            // more cores than hosts the two take turns.
            let busy_s = (compute_s + sum_s + load_s) * (hosts as f64 / self.cores);
            let model_s = (compute_s + sum_s).max(load_s).max(busy_s);
            let measured_s = measure(hosts, batch, "1")?;
            println!(
                "| {hosts} | {batch} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:+.1}% |",
                1e3 * compute_s,
                1e3 * sum_s,
                1e3 * load_s,
                1e3 * model_s,
                1e3 * measured_s,
                100.0 * (model_s / measured_s - 1.0)
            );
        }
        Ok(())
    }
}

/// A folder that holds another one many times over, as links; it goes when this is dropped.
pub struct Copies(pub PathBuf);

impl Copies {
    pub fn of(data: &Path, copies: usize) -> Result<Self> {
        let folder = target().join(format!("bench-{}-copies", std::process::id()));
        fs::create_dir_all(&folder)?;
        let copied = Self(folder);
        for copy in 0..copies {
            let link = Command::new("ln")
                .arg("-s")
                .arg(fs::canonicalize(data)?)
                .arg(copied.0.join(copy.to_string()))
                .status()?;
            ensure!(link.success(), "cannot make links in {}", copied.0.display());
        }
        Ok(copied)
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The mean of many simulated steps.
struct Step {
    compute_s: f64,
    slowest_s: f64,
    sum_s: f64,
    load_s: f64,
}

impl Step {
    /// Images are loaded beside all else.
    fn total_s(&self) -> f64 {
        (self.compute_s + self.slowest_s + self.sum_s).max(self.load_s)
    }
}

/// Steps in which every device computes for a time of its own and all then wait for the slowest.
fn simulate(options: &Options, ring: Ring, devices: usize) -> Step {
    const STEPS: usize = 2000;
    let images = options.batch as f64 / devices as f64;
    let (compute_s, load_s) = (images / options.images_per_s, images / options.loader_images_per_s);
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    // A sum of twelve uniform numbers is close to normal.
    let mut normal = || (0..12).map(|_| f64::from(rng.next_u32()) / f64::from(u32::MAX)).sum::<f64>() - 6.0;
    let slowest = |_| (0..devices).map(|_| normal()).fold(f64::NEG_INFINITY, f64::max);
    let slowest = (0..STEPS).map(slowest).sum::<f64>() / STEPS as f64;
    let bytes = options.millions * 4e6;
    let sum_s = if devices == 1 { 0.0 } else { ring.seconds(devices, bytes) };
    Step { compute_s, slowest_s: compute_s * options.jitter * slowest.max(0.0), sum_s, load_s }
}
