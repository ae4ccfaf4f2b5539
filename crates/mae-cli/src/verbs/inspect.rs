//! Describes a weight file.

use std::path::PathBuf;

use anyhow::Result;
use mae_model::WeightFile;
use mae_trainer::cli::output;

pub const EXAMPLES: &str = "\
Examples:
  mae inspect mae_pretrain_vit_base.pth
  mae inspect runs/images-tiny-1            the run's model.safetensors
  mae inspect path/to/vit-mae-base          a folder that transformers' save_pretrained wrote
  mae inspect --json model.safetensors";

#[derive(clap::Args)]
pub struct Args {
    /// Weight file, or a folder that contains model.safetensors or pytorch_model.bin.
    weights: PathBuf,
    /// Print JSON, with the name, type and shape of every tensor.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    described: crate::weights::Described,
}

pub fn run(args: &Args) -> Result<()> {
    let file = WeightFile::open_model(&args.weights, args.described.weights_key.as_deref())?;
    let hints = args.described.hints();
    match args.json {
        true => output::print(format_args!("{}\n", serde_json::to_string_pretty(&file.to_json(&hints))?))?,
        false => output::print(file.describe(&hints))?,
    }
    Ok(())
}
