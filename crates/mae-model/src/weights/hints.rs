//! What the caller knows of a file.

/// What a file does not say. What it says is not to be contradicted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Hints {
    /// Height and width in pixels: a square otherwise.
    pub image_size: Option<(usize, usize)>,
    /// The encoder's heads: those of the published width otherwise.
    pub num_heads: Option<usize>,
    /// The decoder's heads: those of the published width otherwise.
    pub decoder_num_heads: Option<usize>,
    /// Whether the targets were normalised by patch.
    pub norm_pix_loss: Option<bool>,
    /// Epsilon of the layer norms: 1e-6 otherwise, and 1e-12 under transformers' names, as each of them has it.
    pub norm_eps: Option<f64>,
    /// The share of patches that was masked in training, which transformers' configuration has a place for.
    pub mask_ratio: Option<f64>,
    /// Whether messages name these fields as options of a command line, such as `--num-heads`.
    pub as_options: bool,
}

impl Hints {
    /// What messages call a field.
    pub(crate) fn name(&self, field: &str) -> String {
        if self.as_options { format!("--{}", field.replace('_', "-")) } else { field.into() }
    }
}
