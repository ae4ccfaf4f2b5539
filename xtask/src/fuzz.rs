//! `cargo xtask fuzz`: runs every fuzz target in turn and prints a table of the findings.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::programs::cargo;
use crate::programs::target;

/// Test files of the crates that a target starts with, besides `fuzz/corpus/TARGET`.
const SEEDS: [(&str, &[&str]); 13] = [
    ("jpeg", IMAGES),
    ("png", IMAGES),
    ("webp", IMAGES),
    ("gif", IMAGES),
    ("bmp", IMAGES),
    ("tiff", IMAGES),
    ("stored", IMAGES),
    ("label_image", IMAGES),
    ("limits", IMAGES),
    ("mask", IMAGES),
    ("tar", &["crates/mae-data/tests/golden/shards"]),
    ("recipe", RECIPES),
    ("metrics", RECIPES),
];
const IMAGES: &[&str] = &["crates/mae-image/tests/golden/decode"];
const RECIPES: &[&str] = &[
    "crates/mae-trainer/recipes/pretrain",
    "crates/mae-trainer/recipes/probe",
    "crates/mae-trainer/recipes/finetune",
    "crates/mae-trainer/recipes/segment",
];

/// No input up to this length may take more than 10 s or 1 GB. The memory that the targets themselves need comes on
/// top.
const LIMITS: [&str; 3] = ["-max_len=1000000", "-timeout=10", "-rss_limit_mb=1500"];

/// Options of `cargo xtask fuzz`.
#[derive(clap::Args)]
pub struct Options {
    /// Targets [default: all].
    targets: Vec<String>,
    /// Seconds per target, after one run of its corpus.
    #[arg(long, default_value_t = 60, conflicts_with = "runs")]
    seconds: u64,
    /// Executions per target instead of a time, for at most an hour.
    #[arg(long)]
    runs: Option<u64>,
    /// Leave out the targets that need Burn, which takes minutes to build.
    #[arg(long)]
    without_models: bool,
    /// Build without optimisation, for runs of a few seconds.
    #[arg(long)]
    dev: bool,
}

/// Fuzzes each target and prints a line for each.
pub fn fuzz(options: &Options) -> Result<()> {
    let known = Command::new("cargo-fuzz").arg("--version").output().is_ok();
    ensure!(known, "cargo-fuzz is missing: cargo install --locked cargo-fuzz");
    let targets = targets(options)?;
    let built = cargo_fuzz("build", options).status().context("cannot start cargo fuzz")?;
    ensure!(built.success(), "the targets could not be built: they need a C++ compiler and nasm");
    println!("{:<14}{:>12}{:>10}{:>10}  findings", "target", "executions", "seconds", "exec/s");
    let mut findings = 0;
    for target in &targets {
        findings += usize::from(!run(target, options)?);
    }
    ensure!(findings == 0, "{findings} of {} targets found something", targets.len());
    Ok(())
}

/// Returns the requested targets. Fails if one of them is not in the manifest.
fn targets(options: &Options) -> Result<Vec<String>> {
    let args = ["metadata", "--no-deps", "--format-version=1", "--manifest-path=fuzz/Cargo.toml"];
    let output = cargo().args(args).output().context("cannot run cargo metadata")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let all = metadata["packages"][0]["targets"].as_array().context("the fuzz crate has targets")?;
    let wanted = |target: &&Value| {
        target["kind"][0] == "bin" && !(options.without_models && target["required-features"].is_array())
    };
    let name = |target: &Value| target["name"].as_str().map(str::to_owned);
    let mut names: Vec<String> = all.iter().filter(wanted).filter_map(name).collect();
    for asked in &options.targets {
        ensure!(names.contains(asked), "{asked} is not a target: expected one of {}", names.join(", "));
    }
    names.retain(|name| options.targets.is_empty() || options.targets.contains(name));
    Ok(names)
}

/// Builds without sanitizers, which stable Rust does not have. Our code is safe Rust, so little is lost.
fn cargo_fuzz(verb: &str, options: &Options) -> Command {
    let mut command = cargo();
    command.args(["fuzz", verb, "--fuzz-dir=fuzz", "--sanitizer=none", "--codegen-units=16", "--target-dir"]);
    command.arg(work("build"));
    if options.without_models {
        command.arg("--no-default-features");
    }
    if options.dev {
        command.arg("--dev");
    }
    command
}

/// A folder for the build, the corpora and the findings.
fn work(name: &str) -> PathBuf {
    target().join("fuzz").join(name)
}

/// Runs a target and prints its line. Returns whether nothing was found.
fn run(target: &str, options: &Options) -> Result<bool> {
    let corpus = work("corpus").join(target);
    let findings = work("findings").join(target);
    // In memory if possible, because every execution writes a file.
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { env::temp_dir() };
    let scratch = parent.join(format!("mae-fuzz-{}", std::process::id()));
    for folder in [&corpus, &findings, &scratch] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let mut command = cargo_fuzz("run", options);
    command.arg(target).arg(&corpus);
    let kept = Path::new("fuzz/corpus").join(target);
    let golden = SEEDS.iter().filter(|(name, _)| *name == target).flat_map(|(_, seeds)| *seeds);
    command.args(golden.map(Path::new).chain([kept.as_path()]).filter(|folder| folder.is_dir()));
    command.arg("--").args(LIMITS).arg("-print_final_stats=1").env("TMPDIR", &scratch);
    command.arg(format!("-artifact_prefix={}/", fs::canonicalize(&findings)?.display()));
    match options.runs {
        Some(runs) => command.args([format!("-runs={runs}"), "-max_total_time=3600".to_owned()]),
        None => command.arg(format!("-max_total_time={}", options.seconds)),
    };
    let began = Instant::now();
    let output = command.output().context("cannot start cargo fuzz")?;
    let seconds = began.elapsed().as_secs_f64();
    let _ = fs::remove_dir_all(&scratch);
    report(target, &output, seconds, &findings);
    Ok(output.status.success())
}

/// Prints a target's line and, if it failed, the end of its output.
fn report(target: &str, output: &Output, seconds: f64, findings: &Path) {
    let text = String::from_utf8_lossy(&output.stderr);
    let executions = text.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    let executions: u64 = executions.and_then(|count| count.trim().parse().ok()).unwrap_or(0);
    let rate = executions as f64 / seconds.max(1e-3);
    let found = if output.status.success() { "none".to_owned() } else { findings.display().to_string() };
    println!("{target:<14}{executions:>12}{seconds:>10.0}{rate:>10.0}  {found}");
    if !output.status.success() {
        let lines: Vec<_> = text.lines().collect();
        println!("{}", lines[lines.len().saturating_sub(60)..].join("\n"));
    }
}
