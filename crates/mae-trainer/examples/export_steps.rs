//! Exports a run's initial weights, batches and masks, so that another implementation can train on the same data.
//!
//! A run is a function of its recipe and its images. A run's folder is therefore enough to know its every batch and
//! mask, whether or not it has been trained. `scripts/compare_pytorch.py` reads the exported files.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line talks to people")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;
use clap::Parser;
use mae_model::MaeConfig;
use mae_trainer::{AdamW, Pretrain, Run, read_records};
use mae_vit::Normalize;
use safetensors::tensor::{Dtype, TensorView};
use serde::Serialize;

/// Write a run's initial weights, and the images, masks and learning rates of its first updates.
///
/// OUT gets initial.safetensors (the weights under the official names), step-00001.safetensors and so on (one file per
/// update) and, last, steps.json with everything else.
#[derive(Parser)]
struct Cli {
    /// The run's folder.
    run: PathBuf,
    /// Folder to create and write to.
    out: PathBuf,
    /// Number of updates [default: all that the run has recorded].
    #[arg(long)]
    steps: Option<u64>,
}

/// The contents of steps.json.
#[derive(Serialize)]
struct Steps<'a> {
    model: &'a MaeConfig,
    normalize: &'a Normalize,
    adamw: &'a AdamW,
    batch_size: usize,
    accum_iter: usize,
    effective_batch: usize,
    /// Updates in the whole run, from which the schedule follows.
    total_steps: u64,
    /// The learning rate of each exported update.
    lr: Vec<f64>,
}

fn main() -> ExitCode {
    match export_run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", mae_trainer::chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn export_run(Cli { run, out, steps }: &Cli) -> Result<()> {
    let run = Run::<Pretrain>::open(run)?;
    let steps = match *steps {
        Some(steps) => steps,
        None => read_records(run.path("metrics.jsonl"))?.len() as u64,
    };
    let most = run.pace.total_steps;
    ensure!((1..=most).contains(&steps), "steps is {steps}, but must be from 1 to the run's {most}");
    fs::create_dir(out).with_context(|| format!("cannot make {}", out.display()))?;
    export(&run, out, steps)?;
    println!("{steps} updates of {} images in {}", run.pace.effective_batch, out.display());
    Ok(())
}

fn export(run: &Run<Pretrain>, out: &Path, steps: u64) -> Result<()> {
    let device = Device::flex();
    let normalize = &run.settings.data.normalize;
    let initial = run.initial_state(&device)?;
    mae_model::save(&initial.model, normalize, &BTreeMap::new(), out.join("initial.safetensors"))?;

    let mut updates = run.updates();
    for step in 0..steps {
        let (mut images, mut masks) = (Vec::new(), Vec::new());
        for batch in updates.at(step)?.batches() {
            images.extend_from_slice(&batch.images);
            masks.extend(run.task.masks(batch)?.mask().iter().map(|masked| *masked as u8));
        }
        let geometry = run.geometry;
        let (height, width) = geometry.image_size();
        let lead = [run.settings.train.accum_iter, run.settings.train.batch_size]; // [A, B]
        let image_shape = [&lead[..], &[geometry.in_chans(), height, width]].concat(); // [A, B, C, H, W]
        let mask_shape = [&lead[..], &[geometry.num_patches()]].concat(); // [A, B, L]
        let tensors = [
            ("images", TensorView::new(Dtype::U8, image_shape, &images)?),
            ("mask", TensorView::new(Dtype::U8, mask_shape, &masks)?),
        ];
        let path = out.join(format!("step-{:05}.safetensors", step + 1));
        safetensors::serialize_to_file(tensors, None, &path)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }

    let description = Steps {
        model: &run.task.config,
        normalize,
        adamw: &run.settings.optim.adamw(),
        batch_size: run.settings.train.batch_size,
        accum_iter: run.settings.train.accum_iter,
        effective_batch: run.pace.effective_batch,
        total_steps: run.pace.total_steps,
        lr: (0..steps).map(|step| run.pace.schedule.lr(step)).collect(),
    };
    let path = out.join("steps.json");
    fs::write(&path, serde_json::to_string_pretty(&description)?)
        .with_context(|| format!("cannot write {}", path.display()))
}
