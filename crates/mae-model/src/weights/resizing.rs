//! How images are resized to a model's size.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::metadata::{RESIZING_KEY, json as json_text};

/// How an image is brought to the model's size: its sides are resized, then the centre of that size is cropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resizing {
    /// How its sides are resized.
    pub resize: Resize,
    /// Pillow's name of the interpolation: nearest, lanczos, bilinear, bicubic, box or hamming.
    pub filter: String,
}

impl Resizing {
    /// The metadata entry that stores this in a weight file.
    pub fn entry(&self) -> (String, String) {
        (RESIZING_KEY.into(), json_text(self))
    }

    /// The same for a model of another size: from (`rows`, `columns`) to (`height`, `width`).
    pub(crate) fn scaled(self, (rows, columns): (usize, usize), (height, width): (usize, usize)) -> Self {
        let scale = |(down, across): (usize, usize)| (down * height / rows, across * width / columns);
        let resize = match self.resize {
            Resize::No => Resize::No,
            Resize::Cover(size) => Resize::Cover(scale(size)),
            Resize::Squash(size) => Resize::Squash(scale(size)),
        };
        Self { resize, ..self }
    }

    /// The same as settings of transformers' `preprocessor_config.json`, for a model of images with this square `side`.
    /// `None` if no processor of transformers resizes like this.
    pub(crate) fn for_transformers(&self, side: usize) -> Option<Value> {
        let square = |side: usize| json!({ "height": side, "width": side });
        let mut said = match self.resize {
            Resize::No => json!({ "image_processor_type": "ViTImageProcessor", "do_resize": false }),
            Resize::Squash((height, width)) if (height, width) == (side, side) => {
                json!({ "image_processor_type": "ViTImageProcessor", "do_resize": true, "size": square(side) })
            }
            Resize::Squash((height, width)) => json!({
                "image_processor_type": "DeiTImageProcessor",
                "do_resize": true,
                "size": { "height": height, "width": width },
                "do_center_crop": true,
                "crop_size": square(side),
            }),
            Resize::Cover((height, width)) if height == width => json!({
                "image_processor_type": "BitImageProcessor",
                "do_resize": true,
                "size": { "shortest_edge": height },
                "do_center_crop": true,
                "crop_size": square(side),
            }),
            Resize::Cover(_) => return None,
        };
        said["resample"] = FILTERS.iter().position(|filter| *filter == self.filter)?.into();
        Some(said)
    }
}

/// How the sides of an image are resized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// No resizing: images must already have the model's size.
    No,
    /// Keeps the aspect ratio, so that the sides just cover this (height, width). A square gives the length of the
    /// shorter side.
    Cover((usize, usize)),
    /// To this (height, width), whatever the aspect ratio.
    Squash((usize, usize)),
}

/// Pillow's filter names, indexed by Pillow's filter numbers.
pub(crate) const FILTERS: [&str; 6] = ["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"];

impl fmt::Display for Resizing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.resize {
            Resize::No => return write!(f, "not at all"),
            Resize::Cover((height, width)) if height == width => write!(f, "shorter side to {height} px")?,
            Resize::Cover((height, width)) => write!(f, "in their ratio to cover {height} x {width} px")?,
            Resize::Squash((height, width)) => write!(f, "to {height} x {width} px whatever their ratio")?,
        }
        write!(f, ", {}", self.filter)
    }
}
