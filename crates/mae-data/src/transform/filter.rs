//! The filters for resizing images, as Pillow defines them.

use std::f64::consts::PI;
use std::fmt;

/// A filter for resizing, which weights the pixels of an image. It is widened when it makes an image smaller.
///
/// # Source
/// Pillow's `Resampling`, `src/libImaging/Resample.c`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// The mean of the pixels that an output pixel covers.
    Box,
    /// A triangle.
    Bilinear,
    /// A raised cosine, as wide as the triangle.
    Hamming,
    /// Keys' cubic convolution with a = -1/2, also called Catmull-Rom.
    #[default]
    Bicubic,
    /// A windowed sinc of three lobes.
    Lanczos,
}

impl Filter {
    /// The radius of the filter, in pixels of the coarser grid.
    pub(crate) fn support_px(self) -> f64 {
        match self {
            Self::Box => 0.5,
            Self::Bilinear | Self::Hamming => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    /// The weight at a distance of `x` pixels of the coarser grid, before the weights are normalised to a sum of 1.
    pub(crate) fn weight(self, x: f64) -> f64 {
        // Pillow's box includes only its upper end.
        if self == Self::Box {
            return if x > -0.5 && x <= 0.5 { 1.0 } else { 0.0 };
        }
        let x = x.abs();
        if x >= self.support_px() {
            return 0.0;
        }
        match self {
            Self::Box => 1.0,
            Self::Bilinear => 1.0 - x,
            Self::Hamming => sinc(x) * (0.54 + 0.46 * (PI * x).cos()),
            Self::Bicubic => cubic(x),
            Self::Lanczos => sinc(x) * sinc(x / 3.0),
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Box => "box",
            Self::Bilinear => "bilinear",
            Self::Hamming => "hamming",
            Self::Bicubic => "bicubic",
            Self::Lanczos => "lanczos",
        })
    }
}

/// `sin(πx) / πx`
fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) }
}

fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    match x < 1.0 {
        true => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
        false => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
    }
}
