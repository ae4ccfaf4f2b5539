//! A part of a data set.

use std::path::PathBuf;
use std::sync::Arc;

use super::{ImageSource, PassedOver};
use crate::{AnyImage, DataError, Encoded, LabelMap, PixelFormat, below, sample_rng};

/// The pass number of the draws of [`Subset::split`]. No training run reaches it.
const SPLIT_PASS: u64 = u64::MAX - 2;

/// Some images of a data set, in any order.
pub struct Subset {
    source: Arc<dyn ImageSource>,
    indices: Vec<usize>,
}

impl Subset {
    /// The images of `source` at `indices`.
    ///
    /// # Errors
    /// [`DataError::Index`] for an index past the end.
    pub fn new(source: Arc<dyn ImageSource>, indices: Vec<usize>) -> Result<Self, DataError> {
        let len = source.len();
        match indices.iter().find(|index| **index >= len) {
            Some(index) => Err(DataError::Index { index: *index, len }),
            None => Ok(Self { source, indices }),
        }
    }

    /// The labelled images of `source`.
    #[must_use]
    pub fn labelled(source: Arc<dyn ImageSource>) -> Self {
        let indices = (0..source.len()).filter(|index| source.labels(*index).is_some()).collect();
        Self { source, indices }
    }

    /// Splits a data set into a training set and a held-out set with a rounded `share` of each class. The choice
    /// depends on the seed and on the number of images per class. A class with two or more images has at least one
    /// image on each side. Images without a class are split like one more class. In a multi-label set, an image counts
    /// only for its rarest class, so a class that shares its images with others may lie entirely on one side. Both
    /// parts keep the order of the source.
    ///
    /// # Errors
    /// [`DataError::Argument`] if `share` is not between 0 and 1, or if it holds out no image or all.
    pub fn split(source: &Arc<dyn ImageSource>, share: f64, seed: u64) -> Result<(Self, Self), DataError> {
        let argument = |value: String, bound: String| DataError::Argument { name: "val_share", value, bound };
        if !(share > 0.0 && share < 1.0) {
            return Err(argument(share.to_string(), "between 0 and 1".into()));
        }
        let labels: Vec<Option<u32>> = match source.is_multi_label() {
            true => rarest_labels(source.as_ref()),
            false => (0..source.len()).map(|index| source.label(index)).collect(),
        };
        let mut classes: Vec<Vec<usize>> = vec![Vec::new(); source.class_names().len() + 1];
        for (index, label) in labels.into_iter().enumerate() {
            classes[label.map_or(0, |label| label as usize + 1)].push(index);
        }
        let mut held_out = vec![false; source.len()];
        for (class, mut images) in classes.into_iter().enumerate().filter(|(_, images)| images.len() > 1) {
            let count = ((images.len() as f64 * share).round() as usize).clamp(1, images.len() - 1);
            // A partial Fisher-Yates shuffle.
            let mut rng = sample_rng(seed, SPLIT_PASS, class);
            for place in 0..count {
                let other = place + below(&mut rng, (images.len() - place) as u64) as usize;
                images.swap(place, other);
                held_out[images[place]] = true;
            }
        }
        let part = |wanted: bool| {
            let indices: Vec<usize> = (0..source.len()).filter(|index| held_out[*index] == wanted).collect();
            Self { source: source.clone(), indices }
        };
        match part(true) {
            val if val.indices.is_empty() => Err(argument(
                format!("{share}, which holds out none of {} images", source.len()),
                "larger, or left out: no class has two images".into(),
            )),
            val => Ok((part(false), val)),
        }
    }

    fn index(&self, index: usize) -> Result<usize, DataError> {
        self.indices.get(index).copied().ok_or(DataError::Index { index, len: self.indices.len() })
    }
}

/// The rarest class of each image of a multi-label set. Of equally rare classes, it is the first.
fn rarest_labels(source: &dyn ImageSource) -> Vec<Option<u32>> {
    let labels: Vec<Vec<u32>> =
        (0..source.len()).map(|index| source.labels(index).unwrap_or_default()).collect();
    let mut counts = vec![0_usize; source.class_names().len()];
    labels.iter().flatten().for_each(|label| counts[*label as usize] += 1);
    labels.iter().map(|of_image| of_image.iter().copied().min_by_key(|l| counts[*l as usize])).collect()
}

impl ImageSource for Subset {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn pixels(&self) -> PixelFormat {
        self.source.pixels()
    }

    fn stored_format(&self, index: usize) -> Option<PixelFormat> {
        self.source.stored_format(self.index(index).ok()?)
    }

    fn load(&self, index: usize) -> Result<AnyImage, DataError> {
        self.source.load(self.index(index)?)
    }

    fn open(&self, index: usize) -> Result<Encoded, DataError> {
        self.source.open(self.index(index)?)
    }

    fn name(&self, index: usize) -> String {
        self.index(index).map_or_else(|_| String::new(), |index| self.source.name(index))
    }

    fn relative_name(&self, index: usize) -> Option<PathBuf> {
        self.source.relative_name(self.index(index).ok()?)
    }

    fn bytes(&self, index: usize) -> Option<u64> {
        self.source.bytes(self.index(index).ok()?)
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.source.label(self.index(index).ok()?)
    }

    fn is_multi_label(&self) -> bool {
        self.source.is_multi_label()
    }

    fn labels(&self, index: usize) -> Option<Vec<u32>> {
        self.source.labels(self.index(index).ok()?)
    }

    fn class_names(&self) -> &[String] {
        self.source.class_names()
    }

    fn label_map(&self, index: usize, image: &Encoded) -> Result<Option<LabelMap>, DataError> {
        self.source.label_map(self.index(index)?, image)
    }

    fn map_classes(&self) -> &[String] {
        self.source.map_classes()
    }

    fn passed_over(&self) -> &PassedOver {
        self.source.passed_over()
    }
}
