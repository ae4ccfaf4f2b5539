//! Packs a folder of images into tar files: `cargo xtask pack -- DIR OUT [--short-side PX] [--store ppm]`.

use std::error::Error;
use std::ffi::OsString;
use std::fmt::Display;
use std::io::{Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use mae_data::{FolderOptions, ImageFolder, ImageSource, PackOptions, Packed, PixelFormat, Store, pack};

const USAGE: &str = "\
Pack the images under DIR, each resized once, into tar files in OUT, which `--data OUT` and WebDataset read.

Usage: cargo xtask pack -- DIR OUT [--short-side PX] [--store jpeg|ppm|npy] [--quality Q] [--pixels FORMAT] [--images-per-shard N] [--threads N]

  --short-side PX       Shorter side in pixels; smaller images keep their size [256]
  --store KIND          jpeg: compressed; ppm: plain pixels, much larger but without decoding; npy: NumPy arrays, for images
                        that are not 8-bit RGB [jpeg for 8-bit RGB, else npy]
  --quality Q           JPEG quality, 1 to 100 [92]
  --pixels FORMAT       Pixel format to decode images to: rgb8, or type and channels such as u16x4 [the files' own if 32 of
                        them agree, else rgb8]
  --images-per-shard N  Images per tar file [4096]
  --threads N           Threads that decode and resize [all cores]

After an interrupt, the same command continues where it stopped.

Exit status: 0 all images packed, 1 error or unreadable images, 2 wrong options.";

/// The interval between progress lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        say(USAGE);
        return ExitCode::SUCCESS;
    }
    let args = match parse(args) {
        Ok(args) => args,
        Err(message) => {
            complain(format_args!("{message}\n\n{USAGE}"));
            return ExitCode::from(2);
        }
    };
    match run(args) {
        Ok(packed) if packed.unreadable.is_empty() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            let mut text = error.to_string();
            let mut cause = error.source();
            while let Some(error) = cause {
                text += &format!(": {error}");
                cause = error.source();
            }
            complain(text);
            ExitCode::FAILURE
        }
    }
}

struct Args {
    folders: [PathBuf; 2],
    options: PackOptions,
    /// `None` means JPEG for 8-bit RGB and NumPy files for other pixels.
    store: Option<Store>,
    quality: u8,
    pixels: Option<PixelFormat>,
}

fn parse(args: Vec<OsString>) -> Result<Args, String> {
    let (mut folders, mut options, mut quality) = (Vec::new(), PackOptions::default(), 92);
    let (mut store, mut pixels) = (None, None);
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let name = arg.to_string_lossy().into_owned();
        if !name.starts_with("--") {
            folders.push(PathBuf::from(arg));
            continue;
        }
        let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
        let value = value.to_string_lossy().into_owned();
        let number =
            || value.parse::<usize>().map_err(|_| format!("{name} is '{value}', but must be a number"));
        match name.as_str() {
            "--short-side" => options.short_side_px = number()?,
            "--images-per-shard" => options.images_per_shard = number()?,
            "--threads" => options.threads = number()?,
            "--quality" => quality = u8::try_from(number()?).unwrap_or(0),
            "--store" => store = Some(value),
            "--pixels" => {
                let parsed: PixelFormat = value.parse().map_err(|error| format!("--pixels: {error}"))?;
                pixels = Some(parsed);
            }
            _ => return Err(format!("unexpected argument '{name}'")),
        }
    }
    let store = match store.as_deref() {
        None => None,
        Some("jpeg") => Some(Store::Jpeg { quality }),
        Some("ppm") => Some(Store::Ppm),
        Some("npy") => Some(Store::Npy),
        Some(store) => return Err(format!("--store is '{store}', but must be jpeg, ppm or npy")),
    };
    let count = folders.len();
    let folders =
        folders.try_into().map_err(|_| format!("expected two folders, DIR and OUT, got {count}"))?;
    Ok(Args { folders, options, store, quality, pixels })
}

fn run(args: Args) -> Result<Packed, Box<dyn Error>> {
    let Args { folders: [folder, out], mut options, store, quality, pixels } = args;
    let images = ImageFolder::open(folder, FolderOptions { pixels, ..FolderOptions::default() })?;
    options.store = store.unwrap_or(match images.pixels() {
        PixelFormat::Rgb8 => Store::Jpeg { quality },
        _ => Store::Npy,
    });
    let began = Instant::now();
    let (mut last_line, mut first) = (began, None);
    let packed = pack(&images, out, &options, |done, total| {
        // Images that an earlier run has packed do not count for this run's rate.
        let first = *first.get_or_insert(done);
        if last_line.elapsed() >= LINE_EVERY && done > first {
            last_line = Instant::now();
            let rate = (done - first) as f64 / began.elapsed().as_secs_f64();
            let left = (total - done) as f64 / rate;
            say(format_args!("{done} of {total} images, {rate:.0} images/s, {left:.0} s left"));
        }
    })?;
    for file in &packed.unreadable {
        say(format_args!("left out        {}", file.reason));
    }
    let mb = packed.bytes as f64 / 1e6;
    say(format_args!("packed          {} images in {} shards, {mb:.0} MB", packed.images, packed.shards));
    if packed.kept_shards > 0 {
        say(format_args!("kept            {} shards of an interrupted packing", packed.kept_shards));
    }
    if !packed.unreadable.is_empty() {
        say(format_args!("unreadable      {} images, named above", packed.unreadable.len()));
    }
    say(format_args!("took            {:.0} s", began.elapsed().as_secs_f64()));
    Ok(packed)
}

/// Prints a line. Packing continues if standard output is closed.
fn say(line: impl Display) {
    let _ = writeln!(stdout(), "{line}");
}

/// Prints an error. If that fails, the exit status still reports it.
fn complain(error: impl Display) {
    let _ = writeln!(stderr(), "error: {error}");
}
