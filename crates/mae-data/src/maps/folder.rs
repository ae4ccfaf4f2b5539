//! A folder of label images, and which of them belongs to an image.

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

/// The extensions of label images, as they are looked for.
const EXTENSIONS: [&str; 6] = ["png", "PNG", "tif", "TIF", "tiff", "TIFF"];

/// What stands for the name of an image in a template.
const STEM: &str = "{stem}";

/// How the label images in a folder are named and read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LabelMapOptions {
    /// The name of the label image of an image, in which `{stem}` is the image's file name without its extension, such as
    /// `{stem}_mask.png`. It lies in the same sub-folder as the image does. Without a template, it is `{stem}` with `.png`, `.tif` or
    /// `.tiff`.
    pub template: Option<String>,
    /// What is cut off the end of the image's `{stem}` first, such as Cityscapes' `_leftImg8bit`. An image whose name does not end so has
    /// no label image.
    pub strip: String,
    /// What decoding one label image may cost.
    pub limits: DecodeLimits,
}

/// The label images in a folder and their classes.
///
/// Label images are PNG and TIFF files: grey of 1 to 16 bits, palettes, whose indices count and not their colours, or RGB by the colours
/// of the class map. See [`decode_labels`](mae_image::decode_labels).
#[derive(Clone, Debug)]
pub struct LabelMaps {
    root: PathBuf,
    /// Relative to the root.
    paths: BTreeSet<PathBuf>,
    classes: ClassMap,
    options: LabelMapOptions,
}

impl LabelMaps {
    /// Lists the label images under `root`. Without a class map, all of them are read: each value that occurs is a class, named by the value
    /// and in order; 255 is ignored unless 0 is the only other value.
    ///
    /// # Errors
    /// [`DataError::LabelMaps`] if the folder has no label image; [`DataError::Folder`] if it cannot be listed; [`DataError::Argument`]
    /// for a template without `{stem}` or one that leads out of the folder. Without a class map, also as [`load`](Self::load), and if there are fewer than 2
    /// values or more than 256.
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

    /// The classes and what stands for them.
    #[must_use]
    pub fn class_map(&self) -> &ClassMap {
        &self.classes
    }

    /// The label images, relative to the folder, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.paths.iter().map(PathBuf::as_path)
    }

    /// What decoding one label image may cost.
    pub(crate) fn limits(&self) -> &DecodeLimits {
        &self.options.limits
    }

    /// The label image of an image, both relative to their folders; none if there is none.
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
                let reason = format!("the image {image} has several label images, {first} and {second}");
                Err(DataError::LabelMaps { path: self.root.clone(), reason })
            }
        }
    }

    /// The names that the label image of an image may have, as a message lists them.
    pub(crate) fn expected(&self, image: &Path) -> String {
        let mut names: Vec<String> = self.options.names(image).iter().map(path_name).collect();
        names.dedup_by_key(|name| name.to_ascii_lowercase());
        match names.is_empty() {
            true => format!("a name that ends in {}", self.options.strip),
            false => names.join(" or "),
        }
    }

    /// Reads a label image, by its path relative to the folder.
    ///
    /// # Errors
    /// A [`DataError`] that [is of label maps](DataError::is_of_label_maps) and names the file: unreadable, or with a value that is not in
    /// the class map.
    pub fn load(&self, path: &Path) -> Result<LabelMap, DataError> {
        let path = self.root.join(path);
        guarded(&path, || read(&path, &self.classes, &self.options.limits))
    }
}

/// What `f` makes of a label image. A panic of its decoder is an error of label maps.
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
        Err(DataError::Argument { name: "the template of label images", value: template.clone(), bound })
    }

    /// The relative paths that the label image of an image may have.
    fn names(&self, image: &Path) -> Vec<PathBuf> {
        let stem = image.file_stem().unwrap_or_default();
        let Some(stem) = strip(stem, &self.strip) else { return Vec::new() };
        match &self.template {
            // Names that are not Unicode have no place in a template.
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

/// A name without its end.
fn strip<'a>(name: &'a OsStr, end: &str) -> Option<&'a OsStr> {
    if end.is_empty() {
        return Some(name);
    }
    name.to_str()?.strip_suffix(end).map(OsStr::new)
}

/// The relative paths of the label images under `root`.
fn list(root: &Path) -> Result<BTreeSet<PathBuf>, DataError> {
    let refused = |path: &Path, source| DataError::Folder { path: path.into(), source };
    // The walk would not say what is wrong with the root itself.
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
                format!("; its {others} JPEG files cannot be label images, because JPEG changes values")
            }
        };
        let reason = format!("no .png, .tif or .tiff file in it and its sub-folders{jpeg}");
        return Err(DataError::LabelMaps { path: root.into(), reason });
    }
    Ok(paths)
}
