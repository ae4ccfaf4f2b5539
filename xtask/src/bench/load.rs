//! `cargo xtask bench load`: loading images beside torchvision and DALI, in turns on one core of the same machine.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Deserialize;

use super::median::median;
use crate::programs::{build_example_of_data, install, python, run, target};

/// Images in a batch.
const BATCH: &str = "20";
/// How far apart the mean bytes of the same images, randomly cropped, may be.
const MEAN_TOLERANCE: f64 = 4.0;
/// What normalised floats are made from, on average over the channels: ImageNet's mean and deviation, in bytes.
const FLOAT_MEAN: f64 = 255.0 * (0.485 + 0.456 + 0.406) / 3.0;
const FLOAT_STD: f64 = 255.0 * (0.229 + 0.224 + 0.225) / 3.0;

/// Options of the benchmark.
#[derive(Args)]
pub struct Options {
    /// Folder of JPEG files [default: the photographs of scripts/make_data.py, which are made]
    folder: Option<PathBuf>,
    /// Runs of each program, interleaved.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Timed passes over the folder per run, after one untimed pass.
    #[arg(long, default_value_t = 5)]
    passes: usize,
    /// Core that everything runs on, by taskset.
    #[arg(long, default_value_t = 0)]
    core: usize,
    /// Python with scripts/requirements-bench.txt, and with DALI if that is measured [default: a virtual environment is
    /// made]
    #[arg(long)]
    python: Option<PathBuf>,
    /// Also measure DALI, which is a download of a gigabyte.
    #[arg(long)]
    dali: bool,
    /// Also write the table to this file.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

/// A line of the table.
struct Row {
    name: &'static str,
    /// The program's arguments before the number of passes.
    args: Vec<String>,
    ours: bool,
    float: bool,
    rates: Vec<f64>,
}

/// What a program prints.
#[derive(Deserialize)]
struct Report {
    seconds: Vec<f64>,
    images: usize,
    mean: f64,
}

/// Measures, prints, and writes the table if asked to.
pub fn load(options: &Options) -> Result<()> {
    ensure!(options.rounds >= 1 && options.passes >= 1, "--rounds and --passes must be at least 1");
    let target = target();
    let [bench_load, pack] = ["bench_load", "pack"].map(build_example_of_data);
    let (bench_load, pack) = (bench_load?, pack?);
    let python = python(options.python.as_deref())?;
    if options.dali && options.python.is_none() {
        install(&python, "scripts/requirements-bench-dali.txt")?;
    }
    let folder = match &options.folder {
        Some(folder) => folder.clone(),
        None => make_photos(&python, &target)?,
    };
    let mut rows = rows(options, &folder, &pack, &target)?;
    measure(options, &mut rows, &bench_load, &python)?;
    let table = table(options, &rows)?;
    println!("\n{table}");
    if let Some(path) = &options.write {
        fs::write(path, &table).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// What is measured, with the shards packed.
fn rows(options: &Options, folder: &Path, pack: &Path, target: &Path) -> Result<Vec<Row>> {
    let from = |name, args: &[&str], ours| {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        Row { name, args, ours, float: false, rates: Vec::new() }
    };
    let text = folder.display().to_string();
    let mut rows = vec![from("mae-data, JPEG folder", &[&text], true)];
    for (name, store) in
        [("mae-data, shards of JPEG at 256 px", "jpeg"), ("mae-data, shards of PPM at 256 px", "ppm")]
    {
        let out = target.join(format!("bench-load-{store}"));
        if out.exists() {
            fs::remove_dir_all(&out).with_context(|| format!("cannot remove {}", out.display()))?;
        }
        let packed = Command::new(pack).arg(folder).arg(&out).args(["--store", store]).status()?;
        ensure!(packed.success(), "the shards could not be packed");
        rows.push(from(name, &[&out.display().to_string()], true));
    }
    let peers = [
        ("torchvision on PIL, bytes", "torchvision on PIL, floats", "pil"),
        ("torchvision v2 on tensors, bytes", "torchvision v2 on tensors, floats", "v2"),
        ("DALI on the CPU, bytes", "DALI on the CPU, floats", "dali"),
    ];
    for (bytes, floats, peer) in peers.into_iter().take(2 + usize::from(options.dali)) {
        rows.push(from(bytes, &[peer, &text], false));
        rows.push(Row { float: true, ..from(floats, &[peer, &text], false) });
    }
    Ok(rows)
}

/// Runs all programs in turns.
fn measure(options: &Options, rows: &mut [Row], ours: &Path, python: &Path) -> Result<()> {
    let mut first = None;
    for round in 1..=options.rounds {
        for row in &mut *rows {
            let mut command = Command::new("taskset");
            command.args(["--cpu-list", &options.core.to_string()]);
            match row.ours {
                true => command.arg(ours),
                false => command.arg(python).arg("scripts/bench_load_peers.py"),
            };
            command.args(&row.args).args([&options.passes.to_string(), BATCH]);
            if row.float {
                command.arg("--float");
            }
            let report: Report = run(&mut command).with_context(|| format!("{} failed", row.name))?;
            let mut rates: Vec<f64> =
                report.seconds.iter().map(|seconds| report.images as f64 / seconds).collect();
            let rate = median(&mut rates);
            println!("round {round}: {} {rate:.1} images/s", row.name);
            row.rates.push(rate);
            let mean = if row.float { report.mean * FLOAT_STD + FLOAT_MEAN } else { report.mean };
            let (images, expected) = *first.get_or_insert((report.images, mean));
            // Other images, or another picture of them, would be other work.
            ensure!(report.images == images, "{} has {} images, not {images}", row.name, report.images);
            let close = (mean - expected).abs() <= MEAN_TOLERANCE;
            ensure!(close, "{} has a mean byte of {mean:.1}, not {expected:.1}", row.name);
        }
    }
    Ok(())
}

/// The table and what it says under which conditions.
fn table(options: &Options, rows: &[Row]) -> Result<String> {
    let middle = |row: &Row| median(&mut row.rates.clone());
    let peers: Vec<&Row> = rows.iter().filter(|row| !row.ours).collect();
    let mut text = format!(
        "Images/s to 224 px crops on one core ({}); medians of {} interleaved rounds of {} passes, spread from the \
         slowest round to the fastest, and the ratio of ours to each peer.\n\n| program | images/s | spread |",
        cpu(),
        options.rounds,
        options.passes
    );
    let ours: Vec<&Row> = rows.iter().filter(|row| row.ours).collect();
    for row in &ours {
        write!(text, " {} |", row.name.trim_start_matches("mae-data, "))?;
    }
    writeln!(text, "\n|{}", "---|".repeat(3 + ours.len()))?;
    for row in ours.iter().chain(&peers) {
        let (slowest, fastest) =
            row.rates.iter().fold((f64::MAX, 0.0_f64), |(low, high), &rate| (low.min(rate), high.max(rate)));
        write!(text, "| {} | {:.1} | {slowest:.1}–{fastest:.1} |", row.name, middle(row))?;
        for ours in &ours {
            write!(text, " {:.2} |", middle(ours) / middle(row))?;
        }
        text.push('\n');
    }
    Ok(text)
}

/// The processor's name, where the system tells it.
fn cpu() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name"));
    name.and_then(|line| line.split_once(':')).map_or("unknown", |(_, name)| name.trim()).to_owned()
}

/// The photographs of scripts/make_data.py.
fn make_photos(python: &Path, target: &Path) -> Result<PathBuf> {
    let out = target.join("bench-load-data");
    if !out.join("photos").is_dir() {
        install(python, "scripts/requirements.txt")?;
        let made = Command::new(python).arg("scripts/make_data.py").arg("--out").arg(&out).status()?;
        ensure!(made.success(), "the photographs could not be made");
    }
    Ok(out.join("photos"))
}
