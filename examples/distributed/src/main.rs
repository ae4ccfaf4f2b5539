//! Masked pre-training handed to `burn-train` in many processes, each with its part of the data.
#![warn(clippy::print_stderr)]

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use clap::Parser;
use mae_trainer::cli::TrainArgs;
use mae_trainer::managed::{Launch, View};
use mae_trainer::{Collective, INTERRUPTED, Restored, StopFlag, launched_ranks, output, ranks_on, summarize};

/// Pre-trains a masked autoencoder in all processes of an MPI job and draws what it has learnt.
///
/// Without options, on built-in shapes: a few minutes on two cores. With --data DIR, on a folder of images.
/// --batch-size is each rank's; the learning rate follows from the images of all.
#[derive(Parser)]
#[command(name = "distributed", version, after_help = mae_trainer::cli::EXAMPLES)]
struct Cli {
    #[command(flatten)]
    train: TrainArgs,
}

// The step allocates and frees large buffers all the time; the system's allocator gives their pages back each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = mae_trainer::cli::parse::<Cli>().train;
    let ranks = match launched_ranks() {
        Ok(ranks) => ranks,
        Err(error) => {
            return output::fail(&error);
        }
    };
    match train(&args, &ranks) {
        Ok(status) => status,
        Err(error) => {
            let error = mae_trainer::chain(error.as_ref());
            output::warn(format_args!("error: rank {}: {error}\n", ranks.rank()));
            // The others would wait for this one.
            ranks.abort()
        }
    }
}

fn train(args: &TrainArgs, ranks: &Arc<dyn Collective>) -> Result<ExitCode> {
    // What was asked for, checked and resolved, before anything is computed.
    let device_name = args.device.of_local_rank(ranks.local_rank());
    let device = device_name.open()?;
    let ranks = &ranks_on(ranks, &device)?;
    if let Some(text) = args.dry_run_on(ranks, &device)? {
        if ranks.is_main() {
            output::tell(text);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let (run, changes) = args.run_on(ranks, &device)?;
    let Restored { state, damaged } = args.state(&run, &device)?;
    if ranks.is_main() {
        output::tell(run.describe(&state, &device_name.describe(&device), &changes, &damaged));
    }

    let run = Arc::new(run);
    let stop = StopFlag::listen()?;
    let launch = Launch {
        device: &device,
        view: if args.quiet || !ranks.is_main() { View::Quiet } else { View::Lines },
        stop_at: args.stop_after.map_or(u64::MAX, |steps| state.step.saturating_add(steps)),
        stop: Box::new(move || stop.raised()),
    };
    let state = launch.train(&run, state)?;

    if !run.finished(state.step)? {
        if ranks.is_main() {
            let folder = run.path("");
            output::tell(format_args!(
                "\nstopped after step {}; continue with --resume {}\n",
                state.step,
                folder.display()
            ));
        }
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let summary = summarize(&run, &state, &device)?;
    if ranks.is_main() {
        output::tell(format_args!("\n{summary}"));
    }
    Ok(ExitCode::SUCCESS)
}
