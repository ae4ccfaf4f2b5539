//! Weights from one scheme to another.

use std::path::PathBuf;

use anyhow::Result;
use mae_model::{Precision, Scheme, WeightFile};

pub const EXAMPLES: &str = "\
Examples:
  mae convert runs/images-tiny-1 --to timm encoder.safetensors
  mae convert runs/images-base-1 --to transformers vit-mae --precision f16
  mae convert mae_visualize_vit_base.pth --to official base.safetensors --norm-pix-loss false
  mae convert path/to/vit-mae-base --to official base.safetensors

In Python:
  timm.create_model('vit_base_patch16_224', num_classes=0, checkpoint_path='encoder.safetensors')
  transformers.ViTMAEForPreTraining.from_pretrained('vit-mae')
  models_mae.mae_vit_base_patch16().load_state_dict(safetensors.torch.load_file('base.safetensors'))";

#[derive(clap::Args)]
pub struct Args {
    /// A file, or a folder with model.safetensors or pytorch_model.bin in it.
    weights: PathBuf,
    /// The new file; for transformers, the new folder.
    out: PathBuf,
    /// Whose names and files: official (this program's own as well), timm (the encoder alone), transformers.
    #[arg(long)]
    to: Scheme,
    /// same, f32, f16 or bf16.
    #[arg(long, default_value = "same")]
    precision: Precision,
    #[command(flatten)]
    described: crate::weights::Described,
}

pub fn run(args: &Args) -> Result<()> {
    let file = WeightFile::open(&args.weights)?;
    let left = file.export(args.to, args.precision, &args.described.hints(), &args.out)?;
    println!("{} holds {}", file.path().display(), file.contents());
    println!("written         {}", args.out.display());
    if let [first, rest @ ..] = left.as_slice() {
        let more = if rest.is_empty() { "" } else { ", …" };
        println!("left out        {} tensors, which {} has no place for: {first}{more}", left.len(), args.to);
    }
    Ok(())
}
