//! A folder of images, examined.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use mae_data::{Doctor, FolderOptions, ImageFolder};
use mae_trainer::cli::output;
use mae_trainer::cli::parse_size;

pub const EXAMPLES: &str = "\
Examples:
  mae doctor photos
  mae doctor photos --image-size 224
  mae doctor photos --json > report.json";

/// Often enough to see life, rarely enough to read.
const LINE_EVERY: Duration = Duration::from_secs(5);

#[derive(clap::Args)]
pub struct Args {
    /// A folder of images, every one of which is decoded.
    folder: PathBuf,
    /// Counts images that are smaller than this, such as 224 or 192x256.
    #[arg(long, value_name = "PX", value_parser = parse_size)]
    image_size: Option<(usize, usize)>,
    /// Prints everything as JSON; otherwise long lists are shortened.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let folder = ImageFolder::open(&args.folder, FolderOptions::default())?;
    let doctor = Doctor { image_size: args.image_size, ..Doctor::default() };
    let mut last_line = Instant::now();
    let progress = |done, total| {
        if last_line.elapsed() >= LINE_EVERY {
            last_line = Instant::now();
            output::warn(format_args!("{done} of {total} files\n"));
        }
    };
    let report = doctor.examine(&folder, progress)?;
    match args.json {
        true => output::print(format_args!("{}\n", serde_json::to_string_pretty(&report)?))?,
        false => output::print(report)?,
    }
    Ok(())
}
