//! Writes one picture for each image of a folder, whatever the images' names are and whether or not all can be read.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use mae_data::{BadFilePolicy, Batch, Image};
use mae_report::{ReportError, save_png};
use mae_trainer::Shown;
use mae_trainer::cli::output;

use crate::images::{ImageArgs, Preparation, open};
use crate::progress::Progress;
use crate::table::check_free;

/// Limits on the bytes of a picture's name, tried in turn. Most file systems allow 255, which must also cover the
/// longer name that the file has while it is being written.
const NAME_BYTES: [usize; 2] = [usize::MAX, 200];

/// The limit if even these are too long: encrypted file systems allow 143 bytes.
const SHORT_NAME_BYTES: usize = 100;

/// Where pictures of images go.
#[derive(clap::Args)]
pub struct PictureArgs {
    /// An image, a folder of images, packed images, or a table of images.
    images: PathBuf,
    /// Folder for the pictures, one per image.
    out: PathBuf,
    /// Channels to show in pictures, counted from 1: one, or three for red, green and blue, such as 4,3,2 [default:
    /// 1,2,3; 1 if there are fewer].
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    show: Option<Vec<usize>>,
    /// Replace existing pictures.
    #[arg(long)]
    force: bool,
}

impl PictureArgs {
    /// Writes a picture of each image, named after the image, into the output folder. Unreadable images are named once
    /// all others are written, and then make the result an error.
    pub fn draw(
        &self,
        images_as: &ImageArgs,
        preparation: &Preparation,
        draw: impl Fn(Batch, &Shown) -> Result<Vec<Image>>,
    ) -> Result<()> {
        let shown = Shown::new(preparation.normalize.clone(), self.show.as_deref())?;
        let (source, out) = (open(&self.images, preparation.pixels)?, &self.out);
        let len = source.len();
        let name = |index: usize| {
            let name = source.name(index);
            let stem = Path::new(&name).file_stem().unwrap_or_default().to_string_lossy();
            // Images in different folders may share a name.
            if len == 1 { stem.into_owned() } else { format!("{index:06}-{stem}") }
        };
        for index in (0..len).filter(|_| out.exists()) {
            check_free(&out.join(format!("{}.png", name(index))), self.force)?;
        }
        let loader = images_as.loader(&source, preparation, BadFilePolicy::Skip { max_share: 1.0 })?;
        let (mut next, mut written) = (0, 0);
        let mut progress = Progress::start();
        for batch in loader.batches(0, (0..len).collect(), 0)? {
            let batch = batch?;
            let indices = batch.indices.clone();
            for (index, picture) in indices.into_iter().zip(draw(batch, &shown)?) {
                // The loader substitutes another image for one that it cannot read.
                if index == next {
                    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
                    save_named(&picture, out, &name(index))?;
                    written += 1;
                }
                next += 1;
            }
            progress.tell(next, len, len, "images", String::new);
        }
        let pictures = if written == 1 { "picture" } else { "pictures" };
        output::tell(format_args!("written         {written} {pictures} in {}\n", out.display()));
        let bad = loader.bad_files();
        for file in &bad {
            output::warn(format_args!("not read: {}\n", file.reason));
        }
        ensure!(bad.is_empty(), "{} of {len} images cannot be read; they are named above", bad.len());
        Ok(())
    }
}

/// Saves a picture under `name`, shortened if the file system rejects it as too long.
fn save_named(picture: &Image, out: &Path, name: &str) -> Result<(), ReportError> {
    let save = |bytes: usize| {
        let end = (0..=name.len().min(bytes)).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
        save_png(picture, out.join(format!("{}.png", &name[..end])))
    };
    for bytes in NAME_BYTES {
        match save(bytes) {
            Err(ReportError::Write { source, .. }) if source.kind() == ErrorKind::InvalidFilename => {}
            saved => return saved,
        }
    }
    save(SHORT_NAME_BYTES)
}
