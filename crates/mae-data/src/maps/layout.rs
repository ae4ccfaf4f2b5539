//! Finds images and label images in the usual directory layouts of data sets.

use std::path::{Path, PathBuf};

/// The folders of one part of a data set for semantic segmentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentationFolders {
    /// The folder of images.
    pub images: PathBuf,
    /// The folder of label images.
    pub maps: PathBuf,
    /// A list of the images to use, if it is not every image with a label image: see
    /// [`Segmented::listed`](crate::Segmented::listed).
    pub list: Option<PathBuf>,
    /// The classes, if they are known, as the argument of [`ClassMap::open`](crate::ClassMap::open).
    pub classes: Option<PathBuf>,
}

impl SegmentationFolders {
    /// Finds the part `train` or `val` of a data set in one of these layouts:
    ///
    /// | data set | images | label images | list | classes |
    /// |---|---|---|---|---|
    /// | Pascal VOC | `JPEGImages` | `SegmentationClass` | `ImageSets/Segmentation/PART.txt` | voc |
    /// | ADE20K, SceneParsing | `images/training`, `images/validation` | `annotations/training`, `annotations/validation` | | ade20k |
    /// | others | `PART/images` | `PART/masks` | | `classes.toml` or `classes.json`, if present |
    ///
    /// A `classes.toml` or `classes.json` in an ADE20K folder replaces its classes. Returns `None` for any other
    /// layout.
    #[must_use]
    pub fn find(root: impl AsRef<Path>, part: &str) -> Option<Self> {
        let root = root.as_ref();
        let list = root.join("ImageSets/Segmentation").join(format!("{part}.txt"));
        let long = match part {
            "train" => "training",
            "val" => "validation",
            other => other,
        };
        let classes = ["classes.toml", "classes.json"].map(|name| root.join(name));
        let classes = classes.into_iter().find(|path| path.is_file());
        let found =
            |images: PathBuf, maps: PathBuf| (images.is_dir() && maps.is_dir()).then_some((images, maps));
        if let Some((images, maps)) = found(root.join("JPEGImages"), root.join("SegmentationClass"))
            && list.is_file()
        {
            return Some(Self { images, maps, list: Some(list), classes: Some("voc".into()) });
        }
        if let Some((images, maps)) =
            found(root.join("images").join(long), root.join("annotations").join(long))
        {
            let classes = classes.unwrap_or_else(|| "ade20k".into());
            return Some(Self { images, maps, list: None, classes: Some(classes) });
        }
        let part = root.join(part);
        let (images, maps) = found(part.join("images"), part.join("masks"))?;
        Some(Self { images, maps, list: None, classes })
    }
}
