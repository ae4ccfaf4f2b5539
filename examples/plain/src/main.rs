//! Masked pre-training as one explicit loop, to be read and copied.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line talks to people")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use burn::tensor::Device;
use clap::Parser;
use mae_trainer::cli::TrainArgs;
use mae_trainer::{INTERRUPTED, Progress, Run, StopFlag, TrainState, summarize, train_step};

/// Pre-trains a masked autoencoder and draws what it has learnt.
///
/// Without options, on built-in shapes: a few minutes on two cores. With --data DIR, on a folder of images.
#[derive(Parser)]
#[command(name = "plain", version, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    train: TrainArgs,
}

const EXAMPLES: &str = "\
Examples:
  cargo xtask train
  cargo xtask train -- --data photos --preset tiny --epochs 200
  cargo xtask train -- --data digits/train --val digits/test --image-size 8 --patch-size 2 --flip false
  cargo xtask train -- --resume runs/photos-tiny-1

Exit status: 0 when done, 1 after an error, 2 for wrong options, 130 when interrupted with a checkpoint written.";

// The step allocates and frees large buffers all the time; the system's allocator gives their pages back each time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match train(&Cli::parse().train) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("error: {}", mae_trainer::chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn train(args: &TrainArgs) -> Result<ExitCode> {
    // What was asked for, checked and resolved, before anything is computed.
    let device = args.device.open()?;
    let run = args.run()?;
    let mut state = run.latest_state(&device)?;
    println!("{}\n", run.plan.describe(&run.recipe, &state.model, &args.device.to_string()));
    println!("run             {}", run.path("").display());
    if state.step > 0 {
        println!("continuing      after step {} of {}", state.step, run.plan.total_steps);
    }

    if !train_loop(args, &run, &mut state, &device)? {
        println!("\nstopped after step {}; continue with --resume {}", state.step, run.path("").display());
        return Ok(ExitCode::from(INTERRUPTED));
    }
    print!("\n{}", summarize(&run, &state, &device)?);
    Ok(ExitCode::SUCCESS)
}

/// The loop; returns whether the run is finished.
fn train_loop(args: &TrainArgs, run: &Run, state: &mut TrainState, device: &Device) -> Result<bool> {
    let stop = StopFlag::listen()?;
    let stop_at = args.stop_after.map_or(u64::MAX, |steps| state.step.saturating_add(steps));
    let save_every = Duration::from_secs_f64(60.0 * run.recipe.eval.checkpoint_minutes);
    let mut progress = Progress::start(run, state, args.quiet)?;
    let mut last_save = Instant::now();

    while state.step < run.plan.total_steps {
        // Every epoch has an order, crops and masks of its own; the first may be continued in its middle.
        let (epoch, _) = run.plan.position(state.step);
        let mut batches = run.batches(state.step)?;
        progress.new_epoch();
        while run.plan.position(state.step).0 == epoch {
            let loss = train_step(run, state, &mut batches, device)?;
            progress.update(run, state, loss, batches.waiting())?;

            let stopping = stop.raised() || state.step >= stop_at;
            if stopping || state.step == run.plan.total_steps || last_save.elapsed() >= save_every {
                run.save(state)?;
                last_save = Instant::now();
            }
            if stopping {
                return Ok(state.step == run.plan.total_steps);
            }
        }
    }
    Ok(true)
}
