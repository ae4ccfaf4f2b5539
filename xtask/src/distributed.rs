//! Training in several processes on this machine: `mpirun`, and signals passed on to it.

use std::env;
use std::process::{Command, ExitCode};
use std::thread::available_parallelism;

use anyhow::{Context, Result};

use crate::programs::{build, target};
use crate::signals::Signals;

/// Builds the program and runs it in `ranks` processes, which share the cores.
pub fn train(ranks: usize, features: &str, args: &[String]) -> Result<ExitCode> {
    build(&["--package=distributed", "--features", &format!("mpi,{features}")])?;
    let cores = available_parallelism().map_or(1, usize::from);
    let threads = match env::var("RAYON_NUM_THREADS").ok().and_then(|threads| threads.parse().ok()) {
        Some(threads) => threads,
        None => (cores / ranks.max(1)).max(1),
    };
    let mut command = mpirun(ranks, threads);
    command.arg(target().join("release/distributed")).args(args);
    // Ctrl-C must reach only this process: `mpirun` would give its ranks no time for a checkpoint.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let signals = Signals::listen()?;
    let child = command.spawn().context(
        "cannot start mpirun: the distributed program needs MPI, on Debian openmpi-bin, libopenmpi-dev and libclang-dev",
    )?;
    signals.escalate(child)
}

/// Returns a command to which a program is appended. It runs the program in `ranks` processes of `threads` threads
/// each.
pub fn mpirun(ranks: usize, threads: usize) -> Command {
    let mut command = Command::new("mpirun");
    command.args(["--oversubscribe", "--bind-to", "none", "-n", &ranks.to_string()]);
    command.env("RAYON_NUM_THREADS", threads.to_string());
    command
}
