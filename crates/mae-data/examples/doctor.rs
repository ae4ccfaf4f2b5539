//! Examines a folder of images: `cargo run --release -p mae-data --example doctor -- DIR [--image-size PX] [--json]`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line talks to people")]

use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use mae_data::{DataReport, Doctor, FolderOptions, ImageFolder};

const USAGE: &str = "\
Decodes every image under DIR and reports what is there, with warnings on what should be looked at before training.

Usage: doctor DIR [--image-size PX] [--json]

  --image-size PX  Count images smaller than this, N or HEIGHTxWIDTH
  --json           Print everything as JSON; otherwise long lists are shortened

Exit status: 0 when the folder could be examined, with or without warnings, 1 after an error, 2 for wrong options.";

/// Often enough to see life, rarely enough to read.
const LINE_EVERY: Duration = Duration::from_secs(5);

struct Options {
    folder: PathBuf,
    image_size: Option<(usize, usize)>,
    json: bool,
}

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let options = match parse(args) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("error: {message}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match examine(&options).and_then(|report| print(&report, options.json)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = error.to_string();
            let mut cause = error.source();
            while let Some(error) = cause {
                text += &format!(": {error}");
                cause = error.source();
            }
            eprintln!("error: {text}");
            ExitCode::FAILURE
        }
    }
}

fn parse(args: Vec<OsString>) -> Result<Options, String> {
    let (mut folder, mut image_size, mut json) = (None, None, false);
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        if arg == "--json" {
            json = true;
        } else if arg == "--image-size" {
            let text = args.next().unwrap_or_default().to_string_lossy().into_owned();
            let size = parse_size(&text).ok_or_else(|| {
                format!(
                    "--image-size is '{text}', but must be N or HEIGHTxWIDTH in pixels, as 224 or 192x256"
                )
            });
            image_size = Some(size?);
        } else if arg.to_string_lossy().starts_with("--") || folder.is_some() {
            return Err(format!("unexpected argument '{}'", arg.to_string_lossy()));
        } else {
            folder = Some(PathBuf::from(arg));
        }
    }
    let folder = folder.ok_or("no folder is named")?;
    Ok(Options { folder, image_size, json })
}

fn parse_size(text: &str) -> Option<(usize, usize)> {
    let (height, width) = text.split_once('x').unwrap_or((text, text));
    Some((height.parse().ok()?, width.parse().ok()?)).filter(|&(height, width)| height > 0 && width > 0)
}

fn examine(options: &Options) -> Result<DataReport, Box<dyn Error>> {
    let folder = ImageFolder::open(&options.folder, FolderOptions::default())?;
    let doctor = Doctor { image_size: options.image_size, ..Doctor::default() };
    let mut last_line = Instant::now();
    let progress = |done, total| {
        if last_line.elapsed() >= LINE_EVERY {
            last_line = Instant::now();
            eprintln!("{done} of {total} files");
        }
    };
    Ok(doctor.examine(&folder, progress)?)
}

fn print(report: &DataReport, json: bool) -> Result<(), Box<dyn Error>> {
    if json {
        println!("{}", serde_json::to_string_pretty(report)?);
    } else {
        print!("{report}");
    }
    Ok(())
}
