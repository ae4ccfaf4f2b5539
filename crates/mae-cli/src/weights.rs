//! Options about a weight file, shared by several verbs.

use std::path::Path;

use anyhow::Result;
use clap::Args;
use mae_model::{Hints, ModelError, WeightFile};
use mae_trainer::cli::output;
use mae_trainer::cli::parse_size;

/// Values that a weight file may lack.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Values that a weight file may lack")]
pub struct Described {
    /// Image size in pixels, such as 224, or 224x160 for height and width [default: a square].
    #[arg(long, value_name = "PX", value_parser = parse_size)]
    image_size: Option<(usize, usize)>,
    /// Attention heads of the encoder [default: those of the published model of the same width].
    #[arg(long, value_name = "N")]
    num_heads: Option<usize>,
    /// Attention heads of the decoder [default: those of the published model of the same width].
    #[arg(long, value_name = "N")]
    decoder_num_heads: Option<usize>,
    /// Whether the decoder was trained to predict pixels normalised by patch.
    #[arg(long, value_name = "BOOL")]
    norm_pix_loss: Option<bool>,
    /// Epsilon of the layer norms [default: 1e-6; 1e-12 under transformers' names].
    #[arg(long, value_name = "X")]
    norm_eps: Option<f64>,
    /// Model to take if the file or folder has several, such as student, ema, or best of a run [default: timm's choice;
    /// the average of a checkpoint; the last weights of a run].
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
