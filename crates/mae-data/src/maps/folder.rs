//! A folder of label images, matched with images by name.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use super::class_map::ClassMap;
use super::discover::discover;
use super::label_map::LabelMap;
use super::read::read;
use crate::loader::worker::without_panic;
use crate::{DataError, DecodeLimits, PassedOver, path_name};

/// The extensions of label images, in the order in which they are tried.
const EXTENSIONS: [&str; 6] = ["png", "PNG", "tif", "TIF", "tiff", "TIFF"];

/// The placeholder for the name of an image in a template.
const STEM: &str = "{stem}";

/// Options for the names and the decoding of the label images in a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LabelMapOptions {
    /// The name of an image's label image, such as `{stem}_mask.png`, where `{stem}` is the image's file name without
    /// extension. The label image is in the same sub-folder as the image. The default is `{stem}` with `.png`, `.tif`
    /// or `.tiff`.
    pub template: Option<String>,
    /// A suffix to remove from the image's `{stem}` first, such as Cityscapes' `_leftImg8bit`. An image without this
    /// suffix has no label image.
    pub strip: String,
    /// Limits on the cost of decoding one label image.
    pub limits: DecodeLimits,
}

/// The label images in a folder and their classes.
///
/// Label images are PNG and TIFF files: greyscale of 1 to 16 bits, palette files, of which the indices count and not
/// the colours, or RGB with the colours of the class map. See [`decode_labels`](mae_image::decode_labels).
#[derive(Clone, Debug)]
pub struct LabelMaps {
    root: PathBuf,
    /// The paths below the root.
    paths: BTreeSet<PathBuf>,
    classes: ClassMap,
    options: LabelMapOptions,
}

impl LabelMaps {
    /// Lists the label images under `root`. Without a class map, reads all of them: each value that occurs is a class,
    /// named by its value, in ascending order; 255 is ignored unless the only other value is 0.
    ///
    /// # Errors
    /// [`DataError::LabelMaps`] if the folder contains no label image; [`DataError::Folder`] if it cannot be listed;
    /// [`DataError::Argument`] for a template without `{stem}` or one that leads out of the folder. Without a class
    /// map, also the errors of [`load`](Self::load), and [`DataError::LabelMaps`] for fewer than 2 or more than 256
    /// values.
    pub fn open(
        root: impl Into<PathBuf>,
        classes: Option<ClassMap>,
        options: LabelMapOptions,
    ) -> Result<Self, DataError> {
        let root = root.into();
        options.validate()?;
        if root.is_file() {
            return Err(DataError::NotAFolder { path: root });
        }
        let paths = list(&root)?;
        let classes = match classes {
            Some(classes) => classes,
            None => discover(&root, &paths.iter().cloned().collect::<Vec<_>>(), &options.limits)?,
        };
        Ok(Self { root, paths, classes, options })
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The class map.
    #[must_use]
    pub fn class_map(&self) -> &ClassMap {
        &self.classes
    }

    /// The paths of the label images relative to the folder, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.paths.iter().map(PathBuf::as_path)
    }

    /// Limits on the cost of decoding one label image.
    pub(crate) fn limits(&self) -> &DecodeLimits {
        &self.options.limits
    }

    /// The label image of an image, both relative to their folders; `None` if there is none.
    ///
    /// # Errors
    /// [`DataError::LabelMaps`] if there are several.
    pub fn of(&self, image: &Path) -> Result<Option<PathBuf>, DataError> {
        let names = self.options.names(image);
        let mut found = names.into_iter().filter(|path| self.paths.contains(path));
        let Some(first) = found.next() else { return Ok(None) };
        match found.next() {
            None => Ok(Some(first)),
            Some(second) => {
                let [image, first, second] = [image, &first, &second].map(path_name);
                let reason = format!("the image {image} has several label maps, {first} and {second}");
                Err(DataError::LabelMaps { path: self.root.clone(), reason })
            }
        }
    }

    /// Lists the possible names of the label image of an image, for a message.
    pub(crate) fn expected(&self, image: &Path) -> String {
        let mut names: Vec<String> = self.options.names(image).iter().map(path_name).collect();
        names.dedup_by_key(|name| name.to_ascii_lowercase());
        match names.is_empty() {
            true => format!("a name that ends in {}", self.options.strip),
            false => names.join(" or "),
        }
    }

    /// Reads a label image. `path` is relative to the folder.
    ///
    /// # Errors
    /// A [`DataError`] that [is of label maps](DataError::is_of_label_maps) and names the file, if it is unreadable or
    /// contains a value that is not in the class map.
    pub fn load(&self, path: &Path) -> Result<LabelMap, DataError> {
        let path = self.root.join(path);
        guarded(&path, || read(&path, &self.classes, &self.options.limits))
    }
}

/// Calls `f` on a label image, and returns a panic of its decoder as an error of label maps.
pub(crate) fn guarded<T>(path: &Path, f: impl FnOnce() -> Result<T, DataError>) -> Result<T, DataError> {
    without_panic(|| path_name(path), f).map_err(|error| match error {
        DataError::Panic { message, .. } => {
            DataError::LabelMap { path: path.into(), reason: format!("reading it panicked: {message}") }
        }
        other => other,
    })
}

impl LabelMapOptions {
    fn validate(&self) -> Result<(), DataError> {
        let Some(template) = &self.template else { return Ok(()) };
        let below = Path::new(template).components().all(|part| matches!(part, Component::Normal(_)));
        if template.contains(STEM) && below {
            return Ok(());
        }
        let bound = "a relative path with {stem} in it, such as {stem}_mask.png".into();
        Err(DataError::Argument { name: "the template of label maps", value: template.clone(), bound })
    }

    /// The possible relative paths of the label image of an image.
    fn names(&self, image: &Path) -> Vec<PathBuf> {
        let stem = image.file_stem().unwrap_or_default();
        let Some(stem) = strip(stem, &self.strip) else { return Vec::new() };
        match &self.template {
            // A name that is not Unicode cannot be inserted into a template.
            Some(template) => stem
                .to_str()
                .map(|stem| image.with_file_name(template.replace(STEM, stem)))
                .into_iter()
                .collect(),
            None => {
                let name = |extension: &&str| {
                    let mut name = stem.to_os_string();
                    name.push(".");
                    name.push(extension);
                    image.with_file_name(name)
                };
                EXTENSIONS.iter().map(name).collect()
            }
        }
    }
}

/// Removes the suffix `end` from a name; `None` if the name does not end with it.
fn strip<'a>(name: &'a OsStr, end: &str) -> Option<&'a OsStr> {
    if end.is_empty() {
        return Some(name);
    }
    name.to_str()?.strip_suffix(end).map(OsStr::new)
}

/// Lists the relative paths of the label images under `root`.
fn list(root: &Path) -> Result<BTreeSet<PathBuf>, DataError> {
    let refused = |path: &Path, source| DataError::Folder { path: path.into(), source };
    // The walk would not report what is wrong with the root itself.
    std::fs::read_dir(root).map_err(|source| refused(root, source))?;
    let (mut paths, mut others, mut passed_over) = (BTreeSet::new(), 0, PassedOver::default());
    let mut walk = WalkDir::new(root).follow_links(true).into_iter();
    while let Some(entry) = walk.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) if error.loop_ancestor().is_some() => continue,
            Err(error) => {
                let path = error.path().unwrap_or(root).to_path_buf();
                return Err(refused(&path, error.into()));
            }
        };
        let hidden = entry.depth() > 0 && entry.file_name().as_encoded_bytes().starts_with(b".");
        if entry.file_type().is_dir() {
            if hidden || entry.depth() > 0 && passed_over.see_folder(entry.path()) {
                walk.skip_current_dir();
            }
        } else if !hidden {
            let ending = entry.path().extension().unwrap_or_default();
            if EXTENSIONS.iter().any(|known| ending.eq_ignore_ascii_case(known)) {
                paths.insert(entry.path().strip_prefix(root).unwrap_or(entry.path()).into());
            } else if ending.eq_ignore_ascii_case("jpg") || ending.eq_ignore_ascii_case("jpeg") {
                others += 1;
            }
        }
    }
    if paths.is_empty() {
        let jpeg = match others {
            0 => String::new(),
            others => {
                format!("; its {others} JPEG files cannot be label maps, because JPEG changes values")
            }
        };
        let reason = format!("no .png, .tif or .tiff file in it and its sub-folders{jpeg}");
        return Err(DataError::LabelMaps { path: root.into(), reason });
    }
    Ok(paths)
}
