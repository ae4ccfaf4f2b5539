//! The programs that the benchmarks run: where they are built, what they print, the peers' Python.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::de::DeserializeOwned;

use crate::cargo;

/// Where cargo builds.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from)
}

/// Builds packages in release.
pub fn build(args: &[&str]) -> Result<()> {
    let built = cargo().args(["build", "--quiet", "--release"]).args(args).status()?;
    ensure!(built.success(), "{} could not be built", args.join(" "));
    Ok(())
}

/// Builds the program that times steps, and says where it is.
pub fn build_bench_step() -> Result<PathBuf> {
    // With the programs that train, so that Burn is built once for all of them.
    build(&["--package=plain", "--package=managed", "--package=mae-trainer", "--example=bench_step"])?;
    Ok(target().join("release/examples/bench_step"))
}

/// Runs a program whose last line is a report in JSON.
pub fn run<T: DeserializeOwned>(command: &mut Command) -> Result<T> {
    let output = command.output().with_context(|| format!("cannot start {:?}", command.get_program()))?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).context("it printed no text")?;
    serde_json::from_str(text.lines().last().unwrap_or_default()).context("it printed no report")
}

/// The Python with the peers: the one that was named, or a virtual environment, made once.
pub fn python(named: Option<&Path>) -> Result<PathBuf> {
    if let Some(python) = named {
        return Ok(python.to_path_buf());
    }
    let folder = target().join("bench-python");
    let python = folder.join("bin/python");
    if !python.exists() {
        println!("installing the peers in {}", folder.display());
        let made = Command::new("python3").args(["-m", "venv"]).arg(folder).status()?;
        ensure!(made.success(), "python3 -m venv failed");
    }
    install(&python, "scripts/requirements-bench.txt")?;
    Ok(python)
}

/// Installs what a requirements file names.
pub fn install(python: &Path, requirements: &str) -> Result<()> {
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements];
    let installed = Command::new(python).args(pip).status().context("cannot start Python")?;
    ensure!(installed.success(), "{requirements} could not be installed");
    Ok(())
}
