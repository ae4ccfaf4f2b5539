//! Masked pre-training as one explicit loop, to read and copy.
#![warn(clippy::print_stderr)]

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use burn::tensor::Device;
use clap::Parser;
use mae_model::Mae;
use mae_trainer::cli::{PretrainArgs, TrainArgs, output, stopped};
use mae_trainer::{
    INTERRUPTED, Pretrain, Progress, Restored, Run, Single, StopFlag, TrainState, draw_examples, evaluate,
    summarize, train_step,
};

/// Pre-train a masked autoencoder and draw its reconstructions.
///
/// Without options: on built-in shapes, for a few minutes on two cores. With --data DIR: on a folder of images.
#[derive(Parser)]
#[command(name = "plain", version, after_help = mae_trainer::cli::EXAMPLES)]
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
    let Restored { mut state, damaged } = args.state(&run, &device)?;
    output::tell(run.describe(&state, &args.device.describe(&device), &changes, &damaged));

    if !train_loop(args, &run, &mut state, &device)? {
        output::tell(stopped(&run, &state));
        return Ok(ExitCode::from(INTERRUPTED));
    }
    output::tell(format_args!("\n{}", summarize(&run, &state, &device)?));
    Ok(ExitCode::SUCCESS)
}

/// Runs the training loop; returns whether the run is finished.
fn train_loop(
    args: &TrainArgs<PretrainArgs>,
    run: &Run<Pretrain>,
    state: &mut TrainState<Mae>,
    device: &Device,
) -> Result<bool> {
    let (stop, stop_at) = (StopFlag::listen()?, args.stop_at(state));
    let save_every = Duration::from_secs_f64(60.0 * run.settings.eval.checkpoint_minutes);
    if state.step == 0 {
        draw_examples(run, device)?;
    }
    let mut progress = Progress::start(run, state, args.tell())?;
    let mut updates = run.updates().until(stop_at);
    let mut last_save = Instant::now();

    while !run.finished(state.step)? {
        // Images and masks, forward and backward passes, the optimizer at the scheduled learning rate.
        // Metrics are not read back after every update, because each read waits for the device.
        let Some(report) = train_step(run, state, &mut updates, device)? else { continue };
        state.elapsed_s = progress.update(run, state.step, report, updates.waiting())?.elapsed_s;

        if progress.evaluation_due(run, state.step) {
            progress.evaluation(&evaluate(run, state.averaged(), state.step, device)?)?;
        }
        let stopping = stop.raised() || state.step >= stop_at;
        if stopping || run.pace.checkpoint_due(state.step) || last_save.elapsed() >= save_every {
            run.save(state)?;
            last_save = Instant::now();
        }
        if stopping {
            break;
        }
    }
    Ok(run.finished(state.step)?)
}
