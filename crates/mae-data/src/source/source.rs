//! What a data set is: images by index.

use std::path::PathBuf;

use crate::{AnyImage, DataError, Encoded, LabelMap, PassedOver, PixelFormat};

/// A data set, shared by the threads that decode it.
pub trait ImageSource: Send + Sync {
    /// The number of images.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Type and channels of every image.
    fn pixels(&self) -> PixelFormat {
        PixelFormat::Rgb8
    }

    /// The format that loses nothing of the file of the image at `index`: see [`stored_format`](crate::stored_format). None if the file
    /// cannot be read, or there is none.
    fn stored_format(&self, _index: usize) -> Option<PixelFormat> {
        None
    }

    /// Decodes or draws the image at `index`.
    ///
    /// # Errors
    /// A [`DataError`] that names the image and what is wrong with it, or [`DataError::Index`] past the end.
    fn load(&self, index: usize) -> Result<AnyImage, DataError>;

    /// The image at `index` before its pixels are decoded, so that no more of them are than are wanted. What it
    /// decodes to is what [`load`](Self::load) gives; by default it is that already.
    ///
    /// # Errors
    /// As [`load`](Self::load), for what shows before decoding.
    fn open(&self, index: usize) -> Result<Encoded, DataError> {
        self.load(index).map(Encoded::from)
    }

    /// What messages, logs and lists call the image at `index`: a path, or `shapes/00012`. It is one line, and images of
    /// different files have different names: see [`path_name`](crate::path_name).
    fn name(&self, index: usize) -> String;

    /// The path of the file of the image at `index` below the folder of the data set, by which its label image is found; none where there
    /// is no such folder.
    fn relative_name(&self, _index: usize) -> Option<PathBuf> {
        None
    }

    /// The size in bytes of the file of the image at `index`, as it is stored now; none where there is no such file.
    fn bytes(&self, _index: usize) -> Option<u64> {
        None
    }

    /// The class of the image at `index`, an index into [`class_names`](Self::class_names). None for an image without one, and for all
    /// images of a multi-label set.
    fn label(&self, index: usize) -> Option<u32>;

    /// Whether an image may have several classes, or none of them: then [`labels`](Self::labels) has them.
    fn is_multi_label(&self) -> bool {
        false
    }

    /// All classes of the image at `index`, in their order: its only one, or any number in a multi-label set. None for an image that is not
    /// labelled.
    fn labels(&self, index: usize) -> Option<Vec<u32>> {
        self.label(index).map(|label| vec![label])
    }

    /// The classes' names, empty for a data set without labels.
    fn class_names(&self) -> &[String];

    /// The class of each pixel of the image at `index`, of the same size; none for an image without a label map. `image` is what
    /// [`open`](Self::open) makes of it.
    ///
    /// # Errors
    /// A [`DataError`] that [is of label maps](DataError::is_of_label_maps), or [`DataError::Index`] past the end.
    fn label_map(&self, _index: usize, _image: &Encoded) -> Result<Option<LabelMap>, DataError> {
        Ok(None)
    }

    /// The names of the classes of pixels, by their labels in [`label_map`](Self::label_map); empty for a data set without label maps.
    fn map_classes(&self) -> &[String] {
        &[]
    }

    /// Whether images have label maps.
    fn has_label_maps(&self) -> bool {
        !self.map_classes().is_empty()
    }

    /// What was found where the images are and is no part of the data set; by default nothing.
    fn passed_over(&self) -> &PassedOver {
        static NOTHING: PassedOver = PassedOver::NOTHING;
        &NOTHING
    }
}
