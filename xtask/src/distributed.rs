//! Training in several processes on this machine: `mpirun`, and signals passed on to it.

use std::env;
use std::process::{Child, Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{available_parallelism, sleep};
use std::time::Duration;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::exit_code;
use crate::programs::{build, target};

/// Builds the program and runs it in so many processes, which share the cores.
pub fn train(ranks: usize, features: &str, args: &[String]) -> Result<ExitCode> {
    build(&["--package=distributed", "--features", &format!("mpi,{features}")])?;
    let cores = available_parallelism().map_or(1, usize::from);
    let threads = match env::var("RAYON_NUM_THREADS").ok().and_then(|threads| threads.parse().ok()) {
        Some(threads) => threads,
        None => (cores / ranks.max(1)).max(1),
    };
    let mut command = mpirun(ranks, threads);
    command.arg(target().join("release/distributed")).args(args);
    // Ctrl-C is for this process: `mpirun` would give its ranks no time for a checkpoint.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let child = command.spawn().context(
        "cannot start mpirun: the distributed program needs MPI, on Debian openmpi-bin, libopenmpi-dev and libclang-dev",
    )?;
    wait(child)
}

/// Starts so many processes of the program that is to follow, each with so many threads.
pub fn mpirun(ranks: usize, threads: usize) -> Command {
    let mut command = Command::new("mpirun");
    command.args(["--oversubscribe", "--bind-to", "none", "-n", &ranks.to_string()]);
    command.env("RAYON_NUM_THREADS", threads.to_string());
    command
}

/// Waits for the end; the first signal asks the ranks to stop, the second ends them.
fn wait(mut child: Child) -> Result<ExitCode> {
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, asked.clone())?;
    }
    let mut signals = ["-USR1", "-TERM", "-KILL"].into_iter();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(exit_code(status));
        }
        if asked.swap(false, Ordering::SeqCst)
            && let Some(signal) = signals.next()
        {
            Command::new("kill").args([signal, &child.id().to_string()]).status()?;
        }
        sleep(Duration::from_millis(50));
    }
}
