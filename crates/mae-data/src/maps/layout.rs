//! Where images and label images lie in data sets as they are distributed.

use std::path::{Path, PathBuf};

use super::class_map::ClassMap;
use crate::DataError;

/// The folders of one part of a data set for semantic segmentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentationFolders {
    /// The folder of images.
    pub images: PathBuf,
    /// The folder of label images.
    pub maps: PathBuf,
    /// A list of the images that count, if they are not all that have a label image: see [`Segmented::listed`](crate::Segmented::listed).
    pub list: Option<PathBuf>,
    /// The classes, if they are known.
    pub classes: Option<ClassMap>,
}

impl SegmentationFolders {
    /// Finds the part `train` or `val` of a data set that is laid out as one of these:
    ///
    /// | data set | images | label images | list | classes |
    /// |---|---|---|---|---|
    /// | Pascal VOC | `JPEGImages` | `SegmentationClass` | `ImageSets/Segmentation/PART.txt` | [`ClassMap::voc`] |
    /// | ADE20K, SceneParsing | `images/training`, `images/validation` | `annotations/…` | | [`ClassMap::ade20k`] |
    /// | others | `PART/images` | `PART/masks` | | `classes.toml` or `classes.json`, if it is there |
    ///
    /// Nothing if the folder is laid out otherwise.
    ///
    /// # Errors
    /// [`DataError::ClassMap`] if a file of classes cannot be used.
    pub fn find(root: impl AsRef<Path>, part: &str) -> Result<Option<Self>, DataError> {
        let root = root.as_ref();
        let list = root.join("ImageSets/Segmentation").join(format!("{part}.txt"));
        let long = match part {
            "train" => "training",
            "val" => "validation",
            other => other,
        };
        let classes = ["classes.toml", "classes.json"].map(|name| root.join(name));
        let classes = || classes.iter().find(|path| path.is_file()).map(ClassMap::load).transpose();
        let found =
            |images: PathBuf, maps: PathBuf| (images.is_dir() && maps.is_dir()).then_some((images, maps));
        if let Some((images, maps)) = found(root.join("JPEGImages"), root.join("SegmentationClass"))
            && list.is_file()
        {
            return Ok(Some(Self { images, maps, list: Some(list), classes: Some(ClassMap::voc()) }));
        }
        if let Some((images, maps)) =
            found(root.join("images").join(long), root.join("annotations").join(long))
        {
            let classes = classes()?.unwrap_or_else(ClassMap::ade20k);
            return Ok(Some(Self { images, maps, list: None, classes: Some(classes) }));
        }
        let part = root.join(part);
        match found(part.join("images"), part.join("masks")) {
            Some((images, maps)) => Ok(Some(Self { images, maps, list: None, classes: classes()? })),
            None => Ok(None),
        }
    }
}
