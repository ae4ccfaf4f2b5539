//! Options about a weight file, shared by several verbs.

use std::path::Path;

use anyhow::Result;
use clap::Args;
use mae_model::{Hints, ModelError, WeightFile};
use mae_trainer::cli::output;
use mae_trainer::cli::parse_size;

/// What a file does not say itself; needed where the verb says so.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "What a file may not say")]
pub struct Described {
    /// Height and width of the images in pixels, such as 224 or 224x160: a square otherwise.
    #[arg(long, value_name = "PX", value_parser = parse_size)]
    image_size: Option<(usize, usize)>,
    /// The encoder's attention heads: those of the published model of its width otherwise.
    #[arg(long, value_name = "N")]
    num_heads: Option<usize>,
    /// The decoder's attention heads.
    #[arg(long, value_name = "N")]
    decoder_num_heads: Option<usize>,
    /// Whether the decoder was trained to predict patches normalised each by itself.
    #[arg(long, value_name = "BOOL")]
    norm_pix_loss: Option<bool>,
    /// Epsilon of the layer norms: 1e-6 otherwise, 1e-12 under transformers' names.
    #[arg(long, value_name = "X")]
    norm_eps: Option<f64>,
    /// Model to read from a file or folder with several, such as student, ema, or best of a run [default: timm's choice; the
    /// average of a checkpoint; the last weights of a run].
    #[arg(long, value_name = "NAME", help_heading = "Weights")]
    pub weights_key: Option<String>,
}

impl Described {
    pub fn hints(&self) -> Hints {
        Hints {
            image_size: self.image_size,
            num_heads: self.num_heads,
            decoder_num_heads: self.decoder_num_heads,
            norm_pix_loss: self.norm_pix_loss,
            norm_eps: self.norm_eps,
            mask_ratio: None,
            as_options: true,
        }
    }

    /// Opens a weight file. If it contains several models, prints which of them is used.
    pub fn open(&self, path: &Path) -> Result<WeightFile> {
        Ok(open(path, self.weights_key.as_deref())?)
    }
}

/// Opens a weight file. If it contains several models, prints which of them is used.
pub fn open(path: &Path, key: Option<&str>) -> Result<WeightFile, ModelError> {
    let file = WeightFile::open_model(path, key)?;
    if let (taken, others @ [_, ..]) = file.models() {
        output::warn(format_args!(
            "{} holds several models: using {taken}; --weights-key selects another: {}\n",
            path.display(),
            others.join(", ")
        ));
    }
    Ok(file)
}
