//! The programs that the benchmarks run: where they are built, what they print, the peers' Python.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::de::DeserializeOwned;

/// The cargo that runs this program.
pub fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

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

/// Builds an example of `mae-data` and returns its path.
pub fn build_example_of_data(name: &str) -> Result<PathBuf> {
    // Together with `managed`, so that the features of Burn, and its build, are the same.
    build(&["--package=managed", "--package=mae-data", "--example", name])?;
    Ok(target().join("release/examples").join(name))
}

/// The program that times steps with libtorch, taken from a Python's torch; returns the program and where its libraries are.
pub fn build_bench_step_on_libtorch(python: &Path) -> Result<(PathBuf, String)> {
    build_on_libtorch(
        python,
        &["--package=mae-trainer", "--example=bench_step", "--features=mae-trainer/tch"],
    )?;
    // Out of the way of the one without it.
    let program = target().join("release/examples/bench_step_libtorch");
    fs::copy(target().join("release/examples/bench_step"), &program)?;
    Ok((program, libraries(python)?))
}

/// Builds in release, with a Python's torch for `tch`.
fn build_on_libtorch(python: &Path, args: &[&str]) -> Result<()> {
    let built = with_libtorch(python)?.args(["build", "--quiet", "--release"]).args(args).status()?;
    ensure!(built.success(), "{} could not be built on libtorch", args.join(" "));
    Ok(())
}

/// A cargo that finds a Python's torch.
fn with_libtorch(python: &Path) -> Result<Command> {
    // Build scripts run in other folders.
    let folder = fs::canonicalize(python.parent().context("a Python without a folder")?)?;
    let mut path = vec![folder];
    path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    let mut command = cargo();
    command
        .env("LIBTORCH_USE_PYTORCH", "1")
        // tch asks for one version, and builds with later ones too.
        .env("LIBTORCH_BYPASS_VERSION_CHECK", "1")
        .env("PATH", env::join_paths(path)?);
    Ok(command)
}

/// The program of a target, as cargo's messages name it.
fn executable(messages: &[u8], target: &str) -> Option<PathBuf> {
    let messages = String::from_utf8_lossy(messages);
    let artifact = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut named = artifact.filter(|message| message["target"]["name"] == target);
    named.find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

/// Where the libraries of a Python's torch are.
fn libraries(python: &Path) -> Result<String> {
    const LIBRARIES: &str = "import pathlib, torch; site = pathlib.Path(torch.__file__).parents[1]; \
        print(*[site / 'torch/lib', *site.glob('nvidia/*/lib')], sep=':')";
    let libraries = Command::new(python).args(["-c", LIBRARIES]).output().context("cannot start Python")?;
    ensure!(libraries.status.success(), "{}", String::from_utf8_lossy(&libraries.stderr));
    Ok(String::from_utf8(libraries.stdout)?.trim().to_owned())
}

/// The tests of `mae-vit`, among them those of its kernels for cards.
const KERNELS: &str = "kernels";

/// The programs that measure a graphics card, in one folder.
pub struct Gpu {
    folder: PathBuf,
    libraries: String,
}

impl Gpu {
    /// Builds them with these backends into a folder.
    pub fn build(features: &[String], python: &Path, folder: &Path) -> Result<Self> {
        let with = |package: &str, names: &[String]| -> String {
            names.iter().map(|name| format!("{package}/{name}")).collect::<Vec<_>>().join(",")
        };
        // The golden tests turn Burn's backends on by themselves; libtorch's operations are the crate's own.
        let (own, burns): (Vec<_>, Vec<_>) = features.iter().cloned().partition(|name| name == "tch");
        let mut golden = vec![with("mae-model", &own), with("burn", &burns)];
        if !burns.is_empty() {
            golden.push("burn/fusion,burn/autotune".into());
        }
        golden.retain(|names| !names.is_empty());
        let (trainer, plain) = (with("mae-trainer", features), with("plain", features));
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        build_on_libtorch(
            python,
            &[
                "--package=plain",
                "--package=mae-trainer",
                "--bin=plain",
                "--example=bench_step",
                "--features",
                &format!("{trainer},{plain}"),
            ],
        )?;
        golden.extend(own.iter().map(|name| format!("mae-vit/{name}")));
        let tests = with_libtorch(python)?
            .args(["test", "--quiet", "--release", "--no-run", "--message-format=json"])
            .args(["--package=mae-model", "--package=mae-vit", "--test=golden", "--lib"])
            .args(["--features", &golden.join(",")])
            .output()?;
        ensure!(tests.status.success(), "{}", String::from_utf8_lossy(&tests.stderr));
        let test = |name| executable(&tests.stdout, name).with_context(|| format!("cargo names no {name}"));
        let release = target().join("release");
        for (from, name) in [
            (release.join("plain"), "plain"),
            (release.join("examples/bench_step"), "bench_step"),
            (test("golden")?, "golden"),
            (test("mae_vit")?, KERNELS),
        ] {
            fs::copy(&from, folder.join(name)).with_context(|| format!("cannot copy {}", from.display()))?;
        }
        fs::copy(env::current_exe()?, folder.join("xtask")).context("cannot copy this program")?;
        Self::open(folder, python)
    }

    /// Those that are there.
    pub fn open(folder: &Path, python: &Path) -> Result<Self> {
        let folder = fs::canonicalize(folder).with_context(|| format!("cannot open {}", folder.display()))?;
        Ok(Self { folder, libraries: libraries(python)? })
    }

    /// One of them.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.folder.join(name));
        command.env("LD_LIBRARY_PATH", &self.libraries);
        command
    }

    /// The golden tests on a device; run from the root of the workspace.
    pub fn golden(&self, device: &str) -> Command {
        let mut command = self.command("golden");
        command.env("MAE_TEST_DEVICE", device.trim_end_matches(":0"));
        command.env("CARGO_MANIFEST_DIR", "crates/mae-model");
        command
    }

    /// The tests of the kernels that libtorch's cards have.
    pub fn kernels(&self) -> Command {
        let mut command = self.command(KERNELS);
        command.arg("--ignored");
        command
    }
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
    let python = environment(&target().join("bench-python"))?;
    install(&python, "scripts/requirements-bench.txt")?;
    Ok(python)
}

/// The Python of a virtual environment, which is made if it is missing.
pub fn environment(folder: &Path) -> Result<PathBuf> {
    let python = folder.join("bin/python");
    if !python.exists() {
        println!("installing Python packages in {}", folder.display());
        let made = Command::new("python3").args(["-m", "venv"]).arg(folder).status();
        let made = made.context("python3 is missing: install it with its module venv")?;
        ensure!(made.success(), "python3 -m venv failed: on Debian, apt-get install python3-venv");
    }
    Ok(python)
}

/// Installs what a requirements file names.
pub fn install(python: &Path, requirements: &str) -> Result<()> {
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements];
    let installed = Command::new(python).args(pip).status().context("cannot start Python")?;
    ensure!(installed.success(), "{requirements} could not be installed");
    Ok(())
}
