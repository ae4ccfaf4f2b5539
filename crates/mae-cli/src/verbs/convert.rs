//! Converts weights from one scheme to another.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use mae_model::{Channels, Hints, Scheme, StoredAs};
use mae_trainer::PublicRecipe;
use mae_trainer::cli::output;
use mae_trainer::cli::parse_size;

use crate::table::{beside, check_free};

pub const EXAMPLES: &str = "\
Examples:
  mae convert runs/images-tiny-1 --to timm encoder.safetensors
  mae convert runs/images-base-1 --to transformers vit-mae --precision f16
  mae convert mae_visualize_vit_base.pth --to official base.safetensors --norm-pix-loss false
  mae convert path/to/vit-mae-base --to official base.safetensors
  mae convert encoder.safetensors --to timm large.safetensors --resample-to 384
  mae convert encoder.safetensors --to timm fine.safetensors --resample-to 224 --resample-patches-to 8
  mae convert mae_pretrain_vit_base.pth --to official five.safetensors --channels blue,green,red,nir,swir

In Python:
  timm.create_model('vit_base_patch16_224', num_classes=0, checkpoint_path='encoder.safetensors')
  transformers.ViTMAEForPreTraining.from_pretrained('vit-mae')
  models_mae.mae_vit_base_patch16().load_state_dict(safetensors.torch.load_file('base.safetensors'))";

#[derive(clap::Args)]
pub struct Args {
    /// Weight file, or a folder that contains model.safetensors or pytorch_model.bin.
    weights: PathBuf,
    /// File to write; for transformers, a folder.
    out: PathBuf,
    /// Names and files to write: official (also this program's own), timm (the encoder, with its classifier if there is
    /// one) or transformers.
    #[arg(long)]
    to: Scheme,
    /// Type of the numbers: same, f32, f16 or bf16.
    #[arg(long, default_value = "same")]
    precision: StoredAs,
    /// Resample the positions for images of this size, such as 384, or 384x256 for height and width.
    #[arg(long, value_name = "PX", value_parser = parse_size)]
    resample_to: Option<(usize, usize)>,
    /// Resample an encoder's patch embedding for patches of this size.
    #[arg(long, value_name = "PX")]
    resample_patches_to: Option<usize>,
    /// Adapt the weights to N channels by timm's rule: one takes the sum of the kernels, several repeat them, scaled.
    #[arg(long, value_name = "N", conflicts_with = "channels")]
    in_chans: Option<usize>,
    /// Adapt the weights to channels of these names, such as blue,green,red,nir: each takes the kernels of the channel
    /// of the same name, or zeros (3 unnamed channels are red, green and blue).
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    channels: Option<Vec<String>>,
    /// Replace an existing file, or a folder that a conversion has made.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    described: crate::weights::Described,
}

pub fn run(args: &Args) -> Result<()> {
    check_free(&args.out, args.force)?;
    let hints = args.described.hints();
    let mut file = args.described.open(&args.weights)?;
    let recipe = file.metadata().get(PublicRecipe::KEY).and_then(|text| PublicRecipe::of(text));
    let mask_ratio = recipe.as_ref().and_then(|recipe| recipe.mask_ratio);
    // The converted file must not reveal where the training images were.
    file = file.with_metadata(PublicRecipe::KEY, recipe.map(|recipe| recipe.text));
    if args.resample_to.is_some() || args.resample_patches_to.is_some() {
        file = file.resampled(args.resample_to, args.resample_patches_to, &hints)?;
    }
    let channels = args.in_chans.map(Channels::Count).or(args.channels.clone().map(Channels::Named));
    if let Some(channels) = channels {
        file = file.with_channels(&channels, &hints)?;
    }
    let hints = Hints { image_size: args.resample_to.or(hints.image_size), mask_ratio, ..hints };
    let left = replacing(&args.out, |out| Ok(file.export(args.to, args.precision, &hints, out)?))?;
    output::tell(format_args!("{} holds {}\n", file.path().display(), file.contents()));
    output::tell(format_args!("written         {}\n", args.out.display()));
    if let [first, rest @ ..] = left.as_slice() {
        let more = if rest.is_empty() { "" } else { ", …" };
        let (count, scheme) = (left.len(), args.to);
        output::tell(format_args!(
            "left out        {count} tensors, which {scheme} has no place for: {first}{more}\n"
        ));
    }
    Ok(())
}

/// The files that a conversion writes into a folder.
const IN_FOLDER: [&str; 3] = ["config.json", "preprocessor_config.json", "model.safetensors"];

/// Lets `write` create a file or a folder at `out`. Anything there already is replaced once the new one is complete.
fn replacing<T>(out: &Path, write: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    if !out.exists() {
        return write(out);
    }
    // Without a trailing slash, which would put the files beside a folder into it.
    let out = &out.components().collect::<PathBuf>();
    let failed = || format!("cannot replace {}", out.display());
    if out.is_dir() {
        for entry in fs::read_dir(out).with_context(failed)? {
            let name = entry.with_context(failed)?.file_name();
            if !IN_FOLDER.iter().any(|known| name == *known) {
                bail!("{}: it holds {}, which no conversion writes", failed(), name.display());
            }
        }
    }
    let [new, old] = [".new", ".old"].map(|suffix| beside(out, suffix));
    for left in [&new, &old] {
        ensure!(!left.exists(), "{}: an earlier command has left {}: remove it", failed(), left.display());
    }
    let written = write(&new)?;
    if !out.is_dir() && !new.is_dir() {
        fs::rename(&new, out).with_context(failed)?;
        return Ok(written);
    }
    // A folder cannot replace another one in a single step.
    fs::rename(out, &old).and_then(|()| fs::rename(&new, out)).with_context(failed)?;
    match old.is_dir() {
        true => fs::remove_dir_all(&old),
        false => fs::remove_file(&old),
    }
    .with_context(failed)?;
    Ok(written)
}
