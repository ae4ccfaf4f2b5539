//! Runs images through a model in order and reports the progress.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use burn::tensor::{Device, Tensor};
use mae_data::{BadFilePolicy, ImageSource};
use mae_model::WeightFile;
use mae_report::duration;
use mae_trainer::StopFlag;
use mae_trainer::cli::output;
use serde_json::{Value, json};

use crate::images::{ImageArgs, Preparation};
use crate::progress::{Progress, say};
use crate::weights::Described;

/// Options of verbs that take all images through a model.
#[derive(clap::Args)]
pub struct PassArgs {
    #[command(flatten)]
    pub images_as: ImageArgs,
    #[command(flatten)]
    pub described: Described,
}

/// A pass of images through a model.
pub struct Pass<'a> {
    args: &'a PassArgs,
    preparation: Preparation,
    device: Device,
    weights: PathBuf,
    /// All files that contain the weights.
    files: Vec<PathBuf>,
}

impl PassArgs {
    /// Sets up a pass of images, prepared by `preparation`, through the weights in `file`.
    pub fn prepared(&self, file: &WeightFile, preparation: Preparation, device: Device) -> Pass<'_> {
        Pass { args: self, preparation, device, weights: file.path().into(), files: file.files().to_vec() }
    }
}

impl Pass<'_> {
    pub fn preparation(&self) -> &Preparation {
        &self.preparation
    }

    /// Everything that the rows depend on, except the images and what the model computes from them.
    pub fn about(&self) -> Result<Value> {
        Ok(json!({
            "weights": self.weights.display().to_string(),
            "checksum": checksum(&self.files)?,
            "normalize": self.preparation.normalize,
            "resized": format!("{:?}", self.preparation.transform),
            "options": format!("{} {:?}", self.args.images_as.seen(), self.args.described.hints()),
        }))
    }

    /// Passes the rows that `model` computes from the images from index `first` on to `each`, one batch at a time. The
    /// rows of unreadable images are NaN. Returns whether a stop was requested before the last image. `doing` names the
    /// model's work in the last progress line.
    pub fn run(
        &self,
        source: &Arc<dyn ImageSource>,
        first: usize,
        doing: &str,
        model: impl Fn(Tensor<4>) -> Vec<f32>,
        mut each: impl FnMut(&[f32]) -> Result<()>,
    ) -> Result<bool> {
        let len = source.len();
        if first == len {
            return Ok(false);
        }
        let stop = StopFlag::listen()?;
        let skip = BadFilePolicy::Skip { max_share: 1.0 };
        let loader = self.args.images_as.loader(source, &self.preparation, skip)?;
        let mut progress = Progress::start();
        let mut batches = loader.batches(0, (first..len).collect(), 0)?;
        let (mut next, mut working) = (first, Duration::ZERO);
        while let Some(batch) = batches.next() {
            let batch = batch?;
            let at_work = Instant::now();
            let images = self.preparation.normalize.images(batch.images, batch.shape, &self.device);
            let mut rows = model(images);
            working += at_work.elapsed();
            let size = rows.len() / batch.indices.len();
            for (row, index) in rows.chunks_mut(size).zip(&batch.indices) {
                // The loader substitutes another image for one that it cannot read.
                if *index != next {
                    row.fill(f32::NAN);
                } else {
                    // NaN marks the rows of unreadable images, so the model itself must not return it.
                    ensure!(
                        row.iter().all(|x| x.is_finite()),
                        "{}: the model's output for {} is infinite or NaN",
                        self.weights.display(),
                        source.name(next)
                    );
                }
                next += 1;
            }
            each(&rows)?;
            if stop.raised() && next < len {
                return Ok(true);
            }
            let elapsed = progress.elapsed();
            progress.tell(next - first, len - first, len, "images", || {
                format!(", waiting {:.0}%", 100.0 * batches.waiting().as_secs_f64() / elapsed)
            });
        }
        for file in loader.bad_files() {
            output::warn(format_args!("not read: {}\n", file.reason));
        }
        let elapsed = progress.elapsed();
        let (took, rate) = (duration(elapsed), (next - first) as f64 / elapsed);
        let share = |part: Duration| 100.0 * part.as_secs_f64() / elapsed;
        let (working, waiting) = (share(working), share(batches.waiting()));
        say(format_args!(
            "{} {} in {took}, {rate:.1} images/s, {doing} {working:.1}%, waiting for images {waiting:.1}%",
            next - first,
            if next - first == 1 { "image" } else { "images" }
        ));
        Ok(false)
    }
}

/// The CRC-32 of the contents of all files, which shows whether others have replaced them.
pub fn checksum(paths: &[PathBuf]) -> Result<u32> {
    let (mut crc, mut buffer) = (crc32fast::Hasher::new(), vec![0; 1 << 20]);
    for path in paths {
        let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        loop {
            match file.read(&mut buffer).with_context(|| format!("cannot read {}", path.display()))? {
                0 => break,
                count => crc.update(&buffer[..count]),
            }
        }
    }
    Ok(crc.finalize())
}
