//! The trait of data sets: images by index.

use std::path::PathBuf;

use crate::{AnyImage, DataError, Encoded, LabelMap, PassedOver, PixelFormat};

/// A data set, shared by the threads that decode it.
pub trait ImageSource: Send + Sync {
    /// The number of images.
    fn len(&self) -> usize;

    /// Whether there are no images.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pixel type and the number of channels of every image.
    fn pixels(&self) -> PixelFormat {
        PixelFormat::Rgb8
    }

    /// The format that stores the file of the image at `index` without loss, see
    /// [`stored_format`](crate::stored_format). `None` if there is no file or it cannot be read.
    fn stored_format(&self, _index: usize) -> Option<PixelFormat> {
        None
    }

    /// Decodes or draws the image at `index`.
    ///
    /// # Errors
    /// A [`DataError`] that names the image and describes the problem, or [`DataError::Index`] past the end.
    fn load(&self, index: usize) -> Result<AnyImage, DataError>;

    /// Opens the image at `index` without decoding its pixels, so that only the needed ones are decoded later. Decoding
    /// the result gives the same pixels as [`load`](Self::load). The default implementation calls `load`.
    ///
    /// # Errors
    /// Those of [`load`](Self::load) that are detected before decoding.
    fn open(&self, index: usize) -> Result<Encoded, DataError> {
        self.load(index).map(Encoded::from)
    }

    /// The name of the image at `index` in messages, logs and lists: a path, or `shapes/00012`. It is one line, and
    /// images in different files have different names, see [`path_name`](crate::path_name).
    fn name(&self, index: usize) -> String;

    /// The file path of the image at `index` relative to the folder of the data set, by which its label image is found.
    /// `None` if there is no such folder.
    fn relative_name(&self, _index: usize) -> Option<PathBuf> {
        None
    }

    /// The current size in bytes of the file of the image at `index`; `None` if it has no file.
    fn bytes(&self, _index: usize) -> Option<u64> {
        None
    }

    /// The class of the image at `index`, an index into [`class_names`](Self::class_names). `None` for an image without
    /// a class, and for all images of a multi-label set.
    fn label(&self, index: usize) -> Option<u32>;

    /// Whether an image may have several classes or none. If so, use [`labels`](Self::labels).
    fn is_multi_label(&self) -> bool {
        false
    }

    /// All classes of the image at `index`, in ascending order: exactly one, or any number in a multi-label set. `None`
    /// for an unlabelled image.
    fn labels(&self, index: usize) -> Option<Vec<u32>> {
        self.label(index).map(|label| vec![label])
    }

    /// The names of the classes; empty for a data set without labels.
    fn class_names(&self) -> &[String];

    /// The class of each pixel of the image at `index`, in the image's size; `None` for an image without a label map.
    /// `image` is the result of [`open`](Self::open) for the same index.
    ///
    /// # Errors
    /// A [`DataError`] that [is of label maps](DataError::is_of_label_maps), or [`DataError::Index`] past the end.
    fn label_map(&self, _index: usize, _image: &Encoded) -> Result<Option<LabelMap>, DataError> {
        Ok(None)
    }

    /// The names of the pixel classes, by their labels in [`label_map`](Self::label_map); empty for a data set without
    /// label maps.
    fn map_classes(&self) -> &[String] {
        &[]
    }

    /// Whether the images have label maps.
    fn has_label_maps(&self) -> bool {
        !self.map_classes().is_empty()
    }

    /// The files and folders that were skipped because they are not part of the data set; by default none.
    fn passed_over(&self) -> &PassedOver {
        static NOTHING: PassedOver = PassedOver::NOTHING;
        &NOTHING
    }
}
