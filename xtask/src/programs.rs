//! The programs that the benchmarks run: where they are built, what they print, the peers' Python.

use std::env;
use std::fs;
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

/// The same with libtorch, taken from a Python's torch; returns the program and where its libraries are.
pub fn build_bench_step_on_libtorch(python: &Path) -> Result<(PathBuf, String)> {
    const LIBRARIES: &str = "import pathlib, torch; site = pathlib.Path(torch.__file__).parents[1]; \
        print(*[site / 'torch/lib', *site.glob('nvidia/*/lib')], sep=':')";
    let mut path = vec![fs::canonicalize(python.parent().context("a Python without a folder")?)?];
    path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    let built = cargo()
        .args(["build", "--quiet", "--release", "--package=mae-trainer", "--example=bench_step"])
        .arg("--features=mae-trainer/tch")
        .env("LIBTORCH_USE_PYTORCH", "1")
        .env("PATH", env::join_paths(path)?)
        .status()?;
    ensure!(built.success(), "bench_step could not be built on libtorch");
    // Out of the way of the one without it.
    let program = target().join("release/examples/bench_step_libtorch");
    fs::copy(target().join("release/examples/bench_step"), &program)?;
    let libraries = Command::new(python).args(["-c", LIBRARIES]).output().context("cannot start Python")?;
    ensure!(libraries.status.success(), "{}", String::from_utf8_lossy(&libraries.stderr));
    Ok((program, String::from_utf8(libraries.stdout)?.trim().to_owned()))
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
