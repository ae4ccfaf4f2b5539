//! Images with the class of each of their pixels.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::image::metadata::Orientation;

use super::folder::LabelMaps;
use super::label_map::LabelMap;
use crate::{AnyImage, DataError, Encoded, ImageSource, PassedOver, PixelFormat, path_name};

/// The images of a data set that have a label map.
///
/// A label map must have the size of its image. If EXIF data rotates the image by 90° or 270°, the map may match either
/// the upright image, which is what annotation tools show, or the stored pixels. In the second case the map is rotated
/// like the image. The sizes decide between the two. Where they cannot, as for a square image or one rotated by 180°,
/// the map matches the upright image.
pub struct Segmented {
    source: Arc<dyn ImageSource>,
    maps: LabelMaps,
    /// The indices of the images in `source`, and the paths of their label images.
    places: Vec<(usize, PathBuf)>,
    /// The indices of the images without a label image.
    without_map: Vec<usize>,
}

impl Segmented {
    /// Finds the label image of each image. Images without one are left out and counted.
    ///
    /// # Errors
    /// [`DataError::LabelMaps`] if no image has a label image, with an example of each name; if the images have no
    /// paths below a folder; or if an image has several label images.
    pub fn new(source: Arc<dyn ImageSource>, maps: LabelMaps) -> Result<Self, DataError> {
        let refused = |reason: String| DataError::LabelMaps { path: maps.root().into(), reason };
        let (mut places, mut without_map) = (Vec::new(), Vec::new());
        for index in 0..source.len() {
            let Some(name) = source.relative_name(index) else {
                let image = source.name(index);
                return Err(refused(format!(
                    "the image {image} has no path below a folder, by which label maps are found"
                )));
            };
            match maps.of(&name)? {
                Some(map) => places.push((index, map)),
                None => without_map.push(index),
            }
        }
        if places.is_empty() {
            let image = source.relative_name(0).unwrap_or_default();
            let found = maps.paths().next().map_or_else(String::new, path_name);
            return Err(refused(format!(
                "none of {} images has a label map: {} needs {}, but there is {found}",
                source.len(),
                path_name(&image),
                maps.expected(&image)
            )));
        }
        Ok(Self { source, maps, places, without_map })
    }

    /// Keeps only the images named by a list, such as `ImageSets/Segmentation/train.txt` of Pascal VOC. Each line is
    /// the path of an image below the folder of images, with or without the extension. The images stay in the order of
    /// the source.
    ///
    /// # Errors
    /// [`DataError::LabelMaps`] if the list cannot be read or is empty, if it names an image that does not exist or has
    /// no label image, or if a name without extension fits several images.
    pub fn listed(self, list: impl AsRef<Path>) -> Result<Self, DataError> {
        let list = list.as_ref();
        let refused = |reason: String| DataError::LabelMaps { path: list.into(), reason };
        let text = std::fs::read_to_string(list).map_err(|error| refused(error.to_string()))?;
        // Maps names with and without extension; several images may share the latter.
        let mut known = HashMap::<PathBuf, Vec<usize>>::new();
        for (place, (index, _)) in self.places.iter().enumerate() {
            if let Some(name) = self.source.relative_name(*index) {
                let stem = name.with_extension("");
                if stem != name {
                    known.entry(stem).or_default().push(place);
                }
                known.entry(name).or_default().push(place);
            }
        }
        let mut wanted = BTreeSet::new();
        for (line, name) in (1..).zip(text.lines().map(str::trim)).filter(|(_, name)| !name.is_empty()) {
            match known.get(Path::new(name)).map(Vec::as_slice) {
                Some(&[place]) => wanted.insert(place),
                Some(&[first, second, ..]) => {
                    let [first, second] = [first, second].map(|place| self.source.name(self.places[place].0));
                    return Err(refused(format!(
                        "line {line}: {name} may be {first} or {second}: add the extension"
                    )));
                }
                _ => {
                    return Err(refused(format!("line {line}: there is no image {name} with a label map")));
                }
            };
        }
        if wanted.is_empty() {
            return Err(refused("it names no image".into()));
        }
        let places: Vec<_> = wanted.into_iter().map(|place| self.places[place].clone()).collect();
        Ok(Self { places, ..self })
    }

    /// The folder of label images.
    #[must_use]
    pub fn maps(&self) -> &LabelMaps {
        &self.maps
    }

    /// The number of images in the source that were left out because they have no label image.
    #[must_use]
    pub fn without_map(&self) -> usize {
        self.without_map.len()
    }

    /// The names of the images that were left out because they have no label image.
    pub fn images_without_map(&self) -> impl Iterator<Item = String> {
        self.without_map.iter().map(|index| self.source.name(*index))
    }

    /// The paths, relative to their folder, of label images that belong to no image of this set.
    #[must_use]
    pub fn maps_without_image(&self) -> Vec<&Path> {
        let used: BTreeSet<&Path> = self.places.iter().map(|(_, map)| map.as_path()).collect();
        self.maps.paths().filter(|path| !used.contains(path)).collect()
    }

    /// The path of the label image of the image at `index`, relative to its folder.
    #[must_use]
    pub fn map_path(&self, index: usize) -> Option<&Path> {
        self.places.get(index).map(|(_, map)| map.as_path())
    }

    fn index(&self, index: usize) -> Result<usize, DataError> {
        self.places
            .get(index)
            .map(|(index, _)| *index)
            .ok_or(DataError::Index { index, len: self.places.len() })
    }

    /// Rotates a label map like its image if their sizes require it, and refuses a map of another size.
    pub(crate) fn fit(&self, index: usize, map: LabelMap, image: &Encoded) -> Result<LabelMap, DataError> {
        let (height, width) = image.size();
        match map.size() {
            size if size == (height, width) => Ok(map),
            size if size == (width, height) && is_quarter_turn(image.orientation()) => {
                Ok(map.upright(image.orientation()))
            }
            size => Err(DataError::MapSize {
                path: self.map_path(index).map(|path| self.maps.root().join(path)).unwrap_or_default(),
                height: size.0,
                width: size.1,
                image: self.name(index),
                image_height: height,
                image_width: width,
            }),
        }
    }
}

/// Whether an orientation swaps rows and columns.
fn is_quarter_turn(orientation: Orientation) -> bool {
    use Orientation as O;
    matches!(orientation, O::Rotate90 | O::Rotate270 | O::Rotate90FlipH | O::Rotate270FlipH)
}

impl ImageSource for Segmented {
    fn len(&self) -> usize {
        self.places.len()
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

    /// The total size of the image file and its label image.
    fn bytes(&self, index: usize) -> Option<u64> {
        let (image, map) = self.places.get(index)?;
        let map = std::fs::metadata(self.maps.root().join(map)).ok()?.len();
        Some(self.source.bytes(*image)? + map)
    }

    /// `None`: here pixels have classes, not images.
    fn label(&self, _: usize) -> Option<u32> {
        None
    }

    fn class_names(&self) -> &[String] {
        &[]
    }

    fn label_map(&self, index: usize, image: &Encoded) -> Result<Option<LabelMap>, DataError> {
        let Some((_, path)) = self.places.get(index) else {
            return Err(DataError::Index { index, len: self.places.len() });
        };
        self.fit(index, self.maps.load(path)?, image).map(Some)
    }

    fn map_classes(&self) -> &[String] {
        self.maps.class_map().classes()
    }

    fn passed_over(&self) -> &PassedOver {
        self.source.passed_over()
    }
}

/// Decodes an image and its label map at full size, for evaluation. Pixels without data in the image are
/// [ignored](crate::IGNORE).
///
/// # Errors
/// Those of [`ImageSource::open`] and [`ImageSource::label_map`]; [`DataError::NoLabelMap`] for an image without a
/// label map.
pub fn load_with_map(source: &dyn ImageSource, index: usize) -> Result<(AnyImage, LabelMap), DataError> {
    let image = source.open(index)?;
    let map = source.label_map(index, &image)?;
    let map = map.ok_or_else(|| DataError::NoLabelMap { name: source.name(index) })?;
    let image = image.decode()?;
    let map = map.where_known(&image);
    Ok((image, map))
}
