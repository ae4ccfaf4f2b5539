//! Masked pre-training by `burn-train`.
#![warn(clippy::print_stderr)]

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use clap::Parser;
use mae_trainer::cli::{PretrainArgs, TrainArgs, output, stopped};
use mae_trainer::managed::{Launch, Screen};
use mae_trainer::{INTERRUPTED, Restored, Single, StopFlag, summarize};

/// Pre-train a masked autoencoder and draw its reconstructions.
///
/// Without options: on built-in shapes, for a few minutes on two cores. With --data DIR: on a folder of images.
#[derive(Parser)]
#[command(name = "managed", version, after_help = mae_trainer::cli::EXAMPLES)]
struct Cli {
    #[command(flatten)]
    train: TrainArgs<PretrainArgs>,
}

// Each step allocates and frees large buffers; the system's allocator would return their pages to the OS each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match train(&mae_trainer::cli::parse::<Cli>().train) {
        Ok(status) => status,
        Err(error) => output::fail(error.as_ref()),
    }
}

fn train(args: &TrainArgs<PretrainArgs>) -> Result<ExitCode> {
    // Check and resolve the request before computing anything.
    let device = args.device.open()?;
    if let Some(text) = args.dry_run(&(Arc::new(Single) as _), &device)? {
        output::print(text)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (run, changes) = args.run(&device)?;
    let Restored { state, damaged } = args.state(&run, &device)?;
    output::tell(run.describe(&state, &args.device.describe(&device), &changes, &damaged));

    let run = Arc::new(run);
    let stop = StopFlag::listen()?;
    let launch = Launch {
        device: &device,
        screen: Screen::choose(args.quiet),
        tell: args.tell(),
        stop_at: args.stop_at(&state),
        stop: Box::new(move || stop.raised()),
    };
    let state = launch.train(&run, state)?;

    if !run.finished(state.step)? {
        output::tell(stopped(&run, &state));
        return Ok(ExitCode::from(INTERRUPTED));
    }
    output::tell(format_args!("\n{}", summarize(&run, &state, &device)?));
    Ok(ExitCode::SUCCESS)
}
