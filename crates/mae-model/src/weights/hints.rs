//! What the caller knows about a file.

/// Values that a file does not state. A hint that contradicts the file is an error.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Hints {
    /// Height and width in pixels. By default, images are square.
    pub image_size: Option<(usize, usize)>,
    /// The encoder's heads. By default, those of the published model of the same width.
    pub num_heads: Option<usize>,
    /// The decoder's heads. By default, those of the published model of the same width.
    pub decoder_num_heads: Option<usize>,
    /// Whether the targets were normalised per patch.
    pub norm_pix_loss: Option<bool>,
    /// Epsilon of the layer norms. By default, 1e-12 under transformers' names and 1e-6 otherwise, as in these
    /// projects.
    pub norm_eps: Option<f64>,
    /// The share of patches masked in training, for which transformers' configuration has a field.
    pub mask_ratio: Option<f64>,
    /// Whether messages name these fields as options of a command line, such as `--num-heads`.
    pub as_options: bool,
}

impl Hints {
    /// The name of a field in messages.
    pub(crate) fn name(&self, field: &str) -> String {
        if self.as_options { format!("--{}", field.replace('_', "-")) } else { field.into() }
    }
}
