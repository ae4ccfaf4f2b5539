//! A folder of image files as a data set.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::decode::{decode_with_format, read};
use crate::{DataError, DecodeLimits, Encoded, Image, ImageSource};

/// What a file must be called to be taken for an image, in any case.
pub const IMAGE_EXTENSIONS: [&str; 8] = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"];

/// How an [`ImageFolder`] is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FolderOptions {
    /// What decoding one image may cost.
    pub limits: DecodeLimits,
}

/// The image files under a folder, at any depth, sorted by path.
///
/// - A file is listed if it has one of [`IMAGE_EXTENSIONS`]; hidden files and folders are passed over.
/// - The order is that of the paths' names from the root down, byte by byte: the same on every file system.
/// - The class of an image is the first-level sub-folder that it lies in, at whatever depth; a sub-folder
///   without images is no class. Images that lie in the root itself, beside such sub-folders or alone, are
///   listed and have no label.
/// - Links are followed. One that leads back to a folder that contains it is passed over, for what it would
///   show is listed already. One that leads nowhere is listed if it is named like an image, and is an error when
///   it is loaded: a file that went missing is not passed over in silence.
///
/// A path takes its length below the root and some 50 bytes.
///
/// # Source
/// Deviation: torchvision's `ImageFolder` passes over images in the root, and refuses a folder without classes.
#[derive(Clone, Debug)]
pub struct ImageFolder {
    root: PathBuf,
    /// Relative to the root.
    paths: Vec<Box<Path>>,
    labels: Vec<Option<u32>>,
    class_names: Vec<String>,
    options: FolderOptions,
}

impl ImageFolder {
    /// Lists the images under `root`, without opening them.
    ///
    /// # Errors
    /// [`DataError::Folder`] if `root` is missing or it or a folder below it may not be listed,
    /// [`DataError::EmptyFolder`] if there is no image in it.
    pub fn open(root: impl Into<PathBuf>, options: FolderOptions) -> Result<Self, DataError> {
        let root = root.into();
        let paths = list(&root)?;
        if paths.is_empty() {
            return Err(DataError::EmptyFolder { path: root, extensions: known_extensions() });
        }
        let (labels, class_names) = classes(&paths);
        Ok(Self { root, paths, labels, class_names, options })
    }

    /// The folder that was opened.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the image at `index` lies, below the root; nothing past the end.
    #[must_use]
    pub fn relative_path(&self, index: usize) -> Option<&Path> {
        self.paths.get(index).map(AsRef::as_ref)
    }

    /// The first-level sub-folders without an image, which are no classes, sorted by name; hidden ones are passed
    /// over. Looks at the folder as it is now.
    ///
    /// # Errors
    /// [`DataError::Folder`] if the root may not be listed any more.
    pub fn empty_folders(&self) -> Result<Vec<String>, DataError> {
        let refuse = |source| refuse_folder(&self.root, source);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.root).map_err(refuse)? {
            let entry = entry.map_err(refuse)?;
            let name = entry.file_name();
            // The sorted paths have a folder's images in one stretch.
            let first = self.paths.partition_point(|path| path.iter().next() < Some(&name));
            let has_images = self.paths.get(first).is_some_and(|path| path.starts_with(&name));
            if !has_images && !is_hidden(&name) && entry.path().is_dir() {
                names.push(name.to_string_lossy().into_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// The image at `index` and the name of its file's format.
    pub(crate) fn load_with_format(&self, index: usize) -> Result<(Image, &'static str), DataError> {
        decode_with_format(&self.path(index)?, &self.options.limits)
    }

    fn path(&self, index: usize) -> Result<PathBuf, DataError> {
        let path = self.relative_path(index).ok_or(DataError::Index { index, len: self.len() })?;
        Ok(self.root.join(path))
    }
}

impl ImageSource for ImageFolder {
    fn len(&self) -> usize {
        self.paths.len()
    }

    fn load(&self, index: usize) -> Result<Image, DataError> {
        self.load_with_format(index).map(|(image, _)| image)
    }

    fn open(&self, index: usize) -> Result<Encoded, DataError> {
        let path = self.path(index)?;
        Encoded::new(&path, read(&path, &self.options.limits)?, &self.options.limits)
    }

    fn name(&self, index: usize) -> String {
        self.relative_path(index).map_or_else(String::new, |path| self.root.join(path).display().to_string())
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.labels.get(index).copied().flatten()
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }
}

/// Relative paths of the images under `root`, sorted.
fn list(root: &Path) -> Result<Vec<Box<Path>>, DataError> {
    // The walk would take a file for a folder with itself in it.
    std::fs::read_dir(root).map_err(|source| refuse_folder(root, source))?;

    let mut paths = Vec::new();
    let mut take = |path: &Path| {
        if is_image(path) {
            paths.push(path.strip_prefix(root).unwrap_or(path).into());
        }
    };
    let walk = WalkDir::new(root).follow_links(true).into_iter();
    for entry in walk.filter_entry(|entry| entry.depth() == 0 || !is_hidden(entry.file_name())) {
        match entry {
            Ok(entry) if entry.file_type().is_file() => take(entry.path()),
            Ok(_) => {}
            Err(error) if error.loop_ancestor().is_some() => {}
            Err(error) => match error.path() {
                Some(path) if is_broken_link(path) => take(path),
                path => {
                    let path = path.unwrap_or(root).to_path_buf();
                    return Err(refuse_folder(&path, error.into()));
                }
            },
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

/// The label of each of the sorted `paths`, and the labels' names.
fn classes(paths: &[Box<Path>]) -> (Vec<Option<u32>>, Vec<String>) {
    let mut names: Vec<OsString> = Vec::new();
    let mut labels = Vec::with_capacity(paths.len());
    for path in paths {
        let mut parts = path.iter();
        let label = match (parts.next(), parts.next()) {
            (Some(folder), Some(_)) => {
                // Sorted by their names from the root down, a class's images stand together.
                if names.last().is_none_or(|last| last != folder) {
                    names.push(folder.into());
                }
                Some(names.len() as u32 - 1)
            }
            _ => None,
        };
        labels.push(label);
    }
    (labels, names.iter().map(|name| name.to_string_lossy().into_owned()).collect())
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default();
    !is_hidden(path.file_name().unwrap_or_default())
        && IMAGE_EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known))
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

fn is_broken_link(path: &Path) -> bool {
    path.is_symlink() && std::fs::metadata(path).is_err()
}

fn refuse_folder(path: &Path, source: std::io::Error) -> DataError {
    DataError::Folder { path: path.into(), extensions: known_extensions(), source }
}

fn known_extensions() -> String {
    IMAGE_EXTENSIONS.join(", ")
}
