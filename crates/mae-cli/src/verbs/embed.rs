//! Writes the features of images to one file, a row per image.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use mae_trainer::INTERRUPTED;
use mae_trainer::cli::output;

use crate::encode::{EncodeArgs, Tokens};
use crate::images;
use crate::progress::say;
use crate::table::FeatureFormat;

pub const EXAMPLES: &str = "\
Examples:
  mae embed runs/images-tiny-1 photos features.npy
  mae embed mae_pretrain_vit_base.pth photos features.safetensors --tokens class --resize 256
  mae embed vit.safetensors photos tokens.npy --tokens all --block 9
  mae embed vit.safetensors photos features.parquet

OUT.txt lists the images' names in the order of the rows; a Parquet file contains the names itself, with the images' classes.
The row of an unreadable image is NaN, and a warning names the image. After Ctrl-C, the same command continues where it
stopped.

In Python:
  numpy.load('features.npy', mmap_mode='r')
  safetensors.numpy.load_file('features.safetensors')['features']
  pandas.read_parquet('features.parquet')     columns path, label and feature

Exit status: 0 success, 1 error, 2 wrong options, 130 interrupted.";

#[derive(clap::Args)]
pub struct Args {
    /// Weights with an encoder: a file, a run's folder, or a folder of transformers.
    weights: PathBuf,
    /// An image, a folder of images, packed images, or a table of images.
    images: PathBuf,
    /// Output file: .npy, .safetensors or .parquet.
    out: PathBuf,
    /// Tokens that make the features of an image.
    #[arg(long, value_enum, default_value = "mean")]
    tokens: Tokens,
    /// Replace an existing file, or a partial one of other weights, images or options.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    encode: EncodeArgs,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let format = FeatureFormat::of(&args.out)?;
    let encoder = args.encode.open(&args.weights, args.tokens)?;
    let source = images::open(&args.images, encoder.pixels())?;
    let (len, row) = (source.len(), encoder.row());
    // A partial file is continued only if it agrees with this table in all that its rows depend on.
    let table = format.table(&args.out, &row, source.as_ref(), encoder.about()?);
    let (mut writer, done) = table.begin(args.force)?;
    if done > 0 {
        say(format_args!("continuing after {done} of {len} images"));
    }
    if encoder.encode(&source, done, |rows| writer.write(rows))? {
        writer.pause()?;
        output::warn("stopped; the same command continues\n");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    format.finish(&table, writer)?;
    let names = table.names.as_ref().map_or(String::new(), |list| format!(", names in {}", list.display()));
    let out = args.out.display();
    output::tell(format_args!("written         {len} rows of {row:?} in {out}{names}\n"));
    Ok(ExitCode::SUCCESS)
}
