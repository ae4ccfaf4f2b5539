//! Builds and runs the programs of the benchmarks, and sets up the Python of the programs that they are compared with.

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

/// The folder that cargo builds in.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from)
}

/// Builds packages in release.
pub fn build(args: &[&str]) -> Result<()> {
    let built = cargo().args(["build", "--quiet", "--release"]).args(args).status()?;
    ensure!(built.success(), "{} could not be built", args.join(" "));
    Ok(())
}

/// Builds the program that times steps and returns its path.
pub fn build_bench_step() -> Result<PathBuf> {
    // Built together with the training programs, so that Burn is built once for all of them.
    build(&["--package=plain", "--package=managed", "--package=mae-trainer", "--example=bench_step"])?;
    Ok(target().join("release/examples/bench_step"))
}

/// Builds an example of `mae-data` and returns its path.
pub fn build_example_of_data(name: &str) -> Result<PathBuf> {
    // Built together with `managed`, so that Burn has the same features and is built once.
    build(&["--package=managed", "--package=mae-data", "--example", name])?;
    Ok(target().join("release/examples").join(name))
}

/// Builds the program that times steps on libtorch, which is taken from a Python's torch. Returns its path and the
/// search path of its libraries.
pub fn build_bench_step_on_libtorch(python: &Path) -> Result<(PathBuf, String)> {
    build_on_libtorch(
        python,
        &["--package=mae-trainer", "--example=bench_step", "--features=mae-trainer/tch"],
    )?;
    // Under another name than the program without libtorch.
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

/// A cargo command that finds a Python's torch.
fn with_libtorch(python: &Path) -> Result<Command> {
    // Build scripts run in other folders, so they need an absolute path.
    let folder = fs::canonicalize(python.parent().context("a Python without a folder")?)?;
    let mut path = vec![folder];
    path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    let mut command = cargo();
    command
        .env("LIBTORCH_USE_PYTORCH", "1")
        // tch requires one version, but builds with later ones too.
        .env("LIBTORCH_BYPASS_VERSION_CHECK", "1")
        .env("PATH", env::join_paths(path)?);
    Ok(command)
}

/// The path of a target's program, from cargo's messages.
fn executable(messages: &[u8], target: &str) -> Option<PathBuf> {
    let messages = String::from_utf8_lossy(messages);
    let artifact = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut named = artifact.filter(|message| message["target"]["name"] == target);
    named.find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

/// The search path of the libraries of a Python's torch.
fn libraries(python: &Path) -> Result<String> {
    const LIBRARIES: &str = "import pathlib, torch; site = pathlib.Path(torch.__file__).parents[1]; \
        print(*[site / 'torch/lib', *site.glob('nvidia/*/lib')], sep=':')";
    let libraries = Command::new(python).args(["-c", LIBRARIES]).output().context("cannot start Python")?;
    ensure!(libraries.status.success(), "{}", String::from_utf8_lossy(&libraries.stderr));
    Ok(String::from_utf8(libraries.stdout)?.trim().to_owned())
}

/// The name of the program with the tests of `mae-vit`, among them those of its GPU kernels.
const KERNELS: &str = "kernels";

/// The programs that measure a GPU, in one folder.
pub struct Gpu {
    folder: PathBuf,
    libraries: String,
}

impl Gpu {
    /// Builds the programs with these backends into a folder.
    pub fn build(features: &[String], python: &Path, folder: &Path) -> Result<Self> {
        let with = |package: &str, names: &[String]| -> String {
            names.iter().map(|name| format!("{package}/{name}")).collect::<Vec<_>>().join(",")
        };
        // For the golden tests, backends are features of Burn, except `tch`: its operations are the crate's own.
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

    /// Opens the programs that are already in a folder.
    pub fn open(folder: &Path, python: &Path) -> Result<Self> {
        let folder = fs::canonicalize(folder).with_context(|| format!("cannot open {}", folder.display()))?;
        Ok(Self { folder, libraries: libraries(python)? })
    }

    /// A command that runs one of the programs.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.folder.join(name));
        command.env("LD_LIBRARY_PATH", &self.libraries);
        command
    }

    /// A command that runs the golden tests on a device, from the root of the workspace.
    pub fn golden(&self, device: &str) -> Command {
        let mut command = self.command("golden");
        command.env("MAE_TEST_DEVICE", device.trim_end_matches(":0"));
        command.env("CARGO_MANIFEST_DIR", "crates/mae-model");
        command
    }

    /// A command that runs the tests of the GPU kernels on libtorch.
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

/// The Python with the packages to compare with: the one given, or a virtual environment that is made once.
pub fn python(named: Option<&Path>) -> Result<PathBuf> {
    if let Some(python) = named {
        return Ok(python.to_path_buf());
    }
    let python = environment(&target().join("bench-python"))?;
    install(&python, "scripts/requirements-bench.txt")?;
    Ok(python)
}

/// Installs a program from crates.io, given as `NAME@VERSION`, if it is missing. Returns the folder of its executable.
pub fn install_tool(folder: &Path, tool: &str) -> Result<PathBuf> {
    let root = folder.join(tool);
    let name = tool.split('@').next().unwrap_or(tool);
    let programs = root.join("bin");
    if !programs.join(name).exists() {
        println!("installing {tool} in {}", root.display());
        let mut command = cargo();
        // Cargo builds in a temporary folder, and removes it afterwards.
        command.args(["install", "--quiet", "--locked", "--debug", tool]).arg("--root").arg(&root);
        let installed = command.env_remove("CARGO_TARGET_DIR").status().context("cannot start cargo")?;
        ensure!(installed.success(), "{tool} could not be installed");
    }
    Ok(programs)
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

/// Installs the packages of a requirements file.
pub fn install(python: &Path, requirements: &str) -> Result<()> {
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements];
    let installed = Command::new(python).args(pip).status().context("cannot start Python")?;
    ensure!(installed.success(), "{requirements} could not be installed");
    Ok(())
}
