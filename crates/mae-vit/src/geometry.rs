//! The shape of images and of the grid of patches they are cut into.

use serde::{Deserialize, Serialize};

use crate::VitError;

/// Image size, patch size and channels, known to fit each other.
///
/// (height, width) throughout; patches are square and are counted row by row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "RawGeometry", into = "RawGeometry")]
pub struct Geometry {
    image_size: (usize, usize),
    patch_size: usize,
    in_chans: usize,
}

impl Geometry {
    /// Describes images of `image_size` = (height, width) pixels cut into `patch_size`² px patches.
    ///
    /// # Errors
    /// If a size is zero or the patch does not divide both sides.
    pub fn new(image_size: (usize, usize), patch_size: usize, in_chans: usize) -> Result<Self, VitError> {
        for (name, value) in [
            ("image height", image_size.0),
            ("image width", image_size.1),
            ("patch_size", patch_size),
            ("in_chans", in_chans),
        ] {
            if value == 0 {
                return Err(VitError::Zero { name });
            }
        }
        for (axis, extent) in [("height", image_size.0), ("width", image_size.1)] {
            if !extent.is_multiple_of(patch_size) {
                return Err(VitError::PatchSize { patch: patch_size, axis, extent });
            }
        }
        Ok(Self { image_size, patch_size, in_chans })
    }

    /// (height, width) of an image in pixels.
    pub fn image_size(&self) -> (usize, usize) {
        self.image_size
    }

    /// Side of a square patch in pixels.
    pub fn patch_size(&self) -> usize {
        self.patch_size
    }

    /// Channels of an image.
    pub fn in_chans(&self) -> usize {
        self.in_chans
    }

    /// (rows, columns) of patches.
    pub fn grid(&self) -> (usize, usize) {
        (self.image_size.0 / self.patch_size, self.image_size.1 / self.patch_size)
    }

    /// Number of patches L of an image.
    pub fn num_patches(&self) -> usize {
        let (rows, columns) = self.grid();
        rows * columns
    }

    /// Number of values in one patch: P · P · C.
    pub fn patch_dim(&self) -> usize {
        self.patch_size * self.patch_size * self.in_chans
    }
}

/// The serialised form, validated on the way in.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGeometry {
    image_size: (usize, usize),
    patch_size: usize,
    in_chans: usize,
}

impl TryFrom<RawGeometry> for Geometry {
    type Error = VitError;

    fn try_from(raw: RawGeometry) -> Result<Self, VitError> {
        Self::new(raw.image_size, raw.patch_size, raw.in_chans)
    }
}

impl From<Geometry> for RawGeometry {
    fn from(g: Geometry) -> Self {
        Self { image_size: g.image_size, patch_size: g.patch_size, in_chans: g.in_chans }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_papers_geometry_has_196_patches_of_768_numbers() {
        let g = Geometry::new((224, 224), 16, 3).unwrap();
        assert_eq!((g.grid(), g.num_patches(), g.patch_dim()), ((14, 14), 196, 768));
    }

    #[test]
    fn a_patch_that_does_not_divide_is_refused_with_numbers() {
        let error = Geometry::new((32, 40), 16, 3).unwrap_err().to_string();
        assert!(error.contains("16") && error.contains("width") && error.contains("40"), "{error}");
        assert_eq!(Geometry::new((32, 32), 0, 3), Err(VitError::Zero { name: "patch_size" }));
    }
}
