//! Pre-training, as `cargo xtask train` does it.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use mae_trainer::cli::TrainArgs;
use mae_trainer::managed::{Launch, View};
use mae_trainer::{INTERRUPTED, Restored, StopFlag, output, summarize};

pub const EXAMPLES: &str = "\
Examples:
  mae pretrain
  mae pretrain --data photos --preset tiny --epochs 200
  mae pretrain --recipe digits --data digits/train --val digits/test
  mae pretrain --resume runs/photos-tiny-1

Without options: on built-in shapes, a few minutes on two cores.";

pub fn run(args: &TrainArgs) -> Result<ExitCode> {
    let device = args.device.open()?;
    if let Some(text) = args.dry_run(&device)? {
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
        view: View::choose(args.quiet),
        stop_at: args.stop_after.map_or(u64::MAX, |steps| state.step.saturating_add(steps)),
        stop: Box::new(move || stop.raised()),
    };
    let state = launch.train(&run, state)?;
    if !run.finished(state.step)? {
        let folder = run.path("");
        output::tell(format_args!(
            "\nstopped after step {}; continue with --resume {}\n",
            state.step,
            folder.display()
        ));
        return Ok(ExitCode::from(INTERRUPTED));
    }
    output::tell(format_args!("\n{}", summarize(&run, &state, &device)?));
    Ok(ExitCode::SUCCESS)
}
