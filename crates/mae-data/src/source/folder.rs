//! A folder of image files as a data set.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use mae_image::{path_name, stored_format};
use walkdir::WalkDir;

use crate::source::extensions::{IMAGE_EXTENSIONS, is_array, is_hidden, is_image};
use crate::source::labels::{Labelled, Labels, sorted};
use crate::source::passed_over::is_run;
use crate::{
    AnyImage, DataError, DecodeLimits, Encoded, ImageSource, LabelTable, PassedOver, PixelFormat, TableRows,
};

/// Options of an [`ImageFolder`].
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FolderOptions {
    /// Limits on the cost of decoding one image.
    pub limits: DecodeLimits,
    /// The format that files are decoded to, 8-bit RGB by default. If `None`, it is the lossless format of 32 files
    /// spread over the folder if they agree, otherwise 8-bit RGB.
    pub pixels: Option<PixelFormat>,
}

impl Default for FolderOptions {
    fn default() -> Self {
        Self { limits: DecodeLimits::default(), pixels: Some(PixelFormat::Rgb8) }
    }
}

/// The image files under a folder, at any depth, sorted by path.
///
/// - A file is listed if it has one of [`IMAGE_EXTENSIONS`]. Hidden files and folders are skipped.
/// - NumPy files (`.npy`) are listed only if there is no other image and no tar file at any depth. Beside images they
///   are features or masks, and are skipped and counted.
/// - Some folders and files are skipped and counted, see [`passed_over`](ImageSource::passed_over): folders that file
///   servers and systems create (`@eaDir`, `#recycle`, …), folders of runs, whose pictures are not data, and image and
///   archive files in unsupported formats.
/// - Images are sorted by the components of their paths from the root down, byte by byte, which is the same on every
///   file system.
/// - The class of an image is the first-level sub-folder that contains it, at any depth. A sub-folder without images is
///   not a class. Images in the root itself are listed and have no label, with or without such sub-folders.
/// - Symbolic links are followed. A link to a folder that contains it is skipped, because its images are listed
///   already. A broken link is listed if it is named like an image, and is an error when it is loaded: a missing file
///   is not skipped silently.
///
/// A path takes its length below the root plus about 50 bytes of memory.
///
/// # Source
/// Deviation: torchvision's `ImageFolder` skips images in the root, and refuses a folder without classes.
#[derive(Clone, Debug)]
pub struct ImageFolder {
    root: PathBuf,
    /// The paths below the root.
    paths: Vec<Box<Path>>,
    labels: Labels,
    class_names: Vec<String>,
    /// The row counts of the table of classes, if the labels come from one.
    table: Option<TableRows>,
    passed_over: PassedOver,
    limits: DecodeLimits,
    pixels: PixelFormat,
}

impl ImageFolder {
    /// Lists the images under `root`. Opens none of them, except to determine the pixel format if `options.pixels` is
    /// `None`.
    ///
    /// # Errors
    /// [`DataError::NotAFolder`] if `root` is a file, [`DataError::Folder`] if `root` is missing or if it or a folder
    /// below it cannot be listed, [`DataError::EmptyFolder`] if it contains no image, [`DataError::RunFolder`] if it is
    /// the folder of a run.
    pub fn open(root: impl Into<PathBuf>, options: FolderOptions) -> Result<Self, DataError> {
        let root = root.into();
        if root.is_file() {
            return Err(DataError::NotAFolder { path: root });
        }
        if is_run(&root) {
            return Err(DataError::RunFolder { path: root });
        }
        let (paths, passed_over) = list(&root)?;
        if paths.is_empty() {
            let passed_over = Box::new(passed_over);
            return Err(DataError::EmptyFolder { path: root, extensions: known_extensions(), passed_over });
        }
        let (labels, class_names) = classes(&paths);
        let labels = Labels::One(labels);
        let FolderOptions { limits, pixels } = options;
        let as_is = pixels.unwrap_or_default();
        let mut folder =
            Self { root, paths, labels, class_names, table: None, passed_over, limits, pixels: as_is };
        if pixels.is_none() {
            folder.pixels = PixelFormat::common(folder.len(), |index| folder.stored_format(index));
        }
        Ok(folder)
    }

    /// Replaces the labels of class folders by those of a table. The classes are those of the images; an image that the
    /// table does not name has no label.
    ///
    /// # Errors
    /// [`DataError::Labels`] if the table names no image of the folder, uses one name for several images, or gives one
    /// image two classes.
    pub fn with_labels(self, table: &LabelTable) -> Result<Self, DataError> {
        let Labelled { labels, class_names, rows } = table.label(&self.root, &self.paths)?;
        Ok(Self { labels, class_names, table: Some(rows), ..self })
    }

    /// The same images with the classes in another order, or with more of them; `None` if a class of the images is
    /// missing.
    fn with_classes(&self, classes: &[String]) -> Option<Self> {
        let places: HashMap<&String, u32> = classes.iter().zip(0..).collect();
        let places: Option<Vec<u32>> =
            self.class_names.iter().map(|class| places.get(class).copied()).collect();
        let places = places?;
        let labels = self.labels.renumbered(&places);
        Some(Self { labels, class_names: classes.to_vec(), ..self.clone() })
    }

    /// Checks that no row of a table shared by two folders names an image in both. Such a row would be ambiguous.
    ///
    /// # Errors
    /// [`DataError::Labels`] with the first such row.
    pub fn check_apart(&self, other: &Self, table: &LabelTable) -> Result<(), DataError> {
        let [first, second] = [self, other].map(|folder| (folder.root.as_path(), folder.paths.as_slice()));
        match table.ambiguous([first, second]) {
            Some(row) if first.0 != second.0 => Err(DataError::Labels {
                path: table.path().into(),
                reason: format!(
                    "{row} is an image in {} and one in {}; give each folder a table of its own, or use paths",
                    path_name(first.0),
                    path_name(second.0)
                ),
            }),
            _ => Ok(()),
        }
    }

    /// Gives two folders the same classes in the same order, if either has labels from a table. The classes are those
    /// of the folder with class folders, or the union of both tables. If one table is multi-label, the other becomes
    /// multi-label too. Folders that cannot agree stay as they are.
    #[must_use]
    pub fn with_common_classes(self, other: Self) -> (Self, Self) {
        let classes = match (&self.table, &other.table) {
            (None, None) => return (self, other),
            (None, Some(_)) => self.class_names.clone(),
            (Some(_), None) => other.class_names.clone(),
            (Some(_), Some(_)) => {
                let all = self.class_names.iter().chain(&other.class_names).map(String::as_str);
                sorted(all).into_iter().map(str::to_owned).collect()
            }
        };
        let multi_label = self.is_multi_label() || other.is_multi_label();
        let both = self.table.is_some() && other.table.is_some();
        match (self.with_classes(&classes), other.with_classes(&classes)) {
            (Some(first), Some(second)) if both && multi_label => {
                let [first, second] = [first, second].map(|f| Self { labels: f.labels.multi_label(), ..f });
                (first, second)
            }
            (Some(first), Some(second)) => (first, second),
            _ => (self, other),
        }
    }

    /// The row counts of the table of classes, if the labels come from one.
    #[must_use]
    pub fn table_rows(&self) -> Option<TableRows> {
        self.table
    }

    /// The opened folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The path of the image at `index` below the root; `None` past the end.
    #[must_use]
    pub fn relative_path(&self, index: usize) -> Option<&Path> {
        self.paths.get(index).map(AsRef::as_ref)
    }

    /// The first-level sub-folders without images, which are not classes, sorted by name. Hidden ones are skipped.
    /// Reads the folder's current state.
    ///
    /// # Errors
    /// [`DataError::Folder`] if the root can no longer be listed.
    pub fn empty_folders(&self) -> Result<Vec<String>, DataError> {
        let refuse = |source| refuse_folder(&self.root, source);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.root).map_err(refuse)? {
            let entry = entry.map_err(refuse)?;
            let name = entry.file_name();
            // In the sorted paths, the images of a folder are contiguous.
            let first = self.paths.partition_point(|path| path.iter().next() < Some(&name));
            let has_images = self.paths.get(first).is_some_and(|path| path.starts_with(&name));
            if !has_images && !is_hidden(&name) && !self.is_passed_over(&name) && entry.path().is_dir() {
                names.push(path_name(&name));
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Files in the root that may be tables of classes, sorted by name; none if the labels already come from one.
    ///
    /// # Errors
    /// [`DataError::Folder`] if the root can no longer be listed.
    pub(crate) fn unused_tables(&self) -> Result<Vec<String>, DataError> {
        if self.table.is_some() {
            return Ok(Vec::new());
        }
        let refuse = |source| refuse_folder(&self.root, source);
        let entries = std::fs::read_dir(&self.root).map_err(refuse)?;
        let names = entries.map(|entry| entry.map(|entry| entry.file_name()).map_err(refuse));
        let mut names = names.collect::<Result<Vec<_>, _>>()?;
        names.retain(|name| LabelTable::may_be(Path::new(name)));
        names.sort_unstable();
        Ok(names.iter().map(path_name).collect())
    }

    /// Whether a first-level sub-folder is skipped, or contains a run's folder that is.
    fn is_passed_over(&self, name: &OsStr) -> bool {
        let name = path_name(name);
        let PassedOver { folders, runs, .. } = &self.passed_over;
        let holds = |run: &String| Path::new(run).iter().next() == Some(OsStr::new(&name));
        folders.contains_key(&name) || runs.iter().any(holds)
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

    fn pixels(&self) -> PixelFormat {
        self.pixels
    }

    fn stored_format(&self, index: usize) -> Option<PixelFormat> {
        stored_format(self.root.join(self.paths.get(index)?), &self.limits).ok()
    }

    fn load(&self, index: usize) -> Result<AnyImage, DataError> {
        Ok(self.open(index)?.decode()?)
    }

    fn open(&self, index: usize) -> Result<Encoded, DataError> {
        Ok(Encoded::read(self.path(index)?, self.pixels, &self.limits)?)
    }

    fn name(&self, index: usize) -> String {
        self.relative_path(index).map_or_else(String::new, |path| path_name(self.root.join(path)))
    }

    fn relative_name(&self, index: usize) -> Option<PathBuf> {
        self.relative_path(index).map(Path::to_path_buf)
    }

    fn bytes(&self, index: usize) -> Option<u64> {
        std::fs::metadata(self.path(index).ok()?).ok().map(|metadata| metadata.len())
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.labels.one(index)
    }

    fn is_multi_label(&self) -> bool {
        matches!(self.labels, Labels::Several(_))
    }

    fn labels(&self, index: usize) -> Option<Vec<u32>> {
        self.labels.all(index)
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn passed_over(&self) -> &PassedOver {
        &self.passed_over
    }
}

/// Lists the images under `root` as sorted relative paths, and what was skipped.
fn list(root: &Path) -> Result<(Vec<Box<Path>>, PassedOver), DataError> {
    // The walk would treat a file as a folder that contains itself.
    std::fs::read_dir(root).map_err(|source| refuse_folder(root, source))?;

    let (mut paths, mut arrays, mut passed_over) = (Vec::new(), Vec::new(), PassedOver::default());
    let below = |path: &Path| -> Box<Path> { path.strip_prefix(root).unwrap_or(path).into() };
    let mut walk = WalkDir::new(root).follow_links(true).into_iter();
    while let Some(entry) = walk.next() {
        match entry {
            Ok(entry) if entry.depth() == 0 => {}
            Ok(entry) if entry.file_type().is_dir() => {
                let (path, hidden) = (entry.path(), is_hidden(entry.file_name()));
                let run = !hidden && is_run(path);
                if run {
                    passed_over.runs.push(path_name(below(path)));
                }
                if hidden || run || passed_over.see_folder(path) {
                    walk.skip_current_dir();
                }
            }
            Ok(entry) if is_image(entry.path()) => {
                if entry.file_type().is_file() {
                    paths.push(below(entry.path()));
                }
            }
            Ok(entry) if is_hidden(entry.file_name()) => {}
            Ok(entry) if is_array(entry.path()) && entry.file_type().is_file() => {
                arrays.push(below(entry.path()));
            }
            Ok(entry) => passed_over.see_file(entry.path()),
            Err(error) if error.loop_ancestor().is_some() => {}
            Err(error) => match error.path() {
                Some(path) if is_broken_link(path) => {
                    if is_image(path) {
                        paths.push(below(path));
                    } else if is_array(path) {
                        arrays.push(below(path));
                    }
                }
                path => {
                    let path = path.unwrap_or(root).to_path_buf();
                    return Err(refuse_folder(&path, error.into()));
                }
            },
        }
    }
    if paths.is_empty() && !passed_over.files.contains_key(".tar") {
        paths = arrays;
    } else {
        arrays.iter().for_each(|_| passed_over.file(".npy"));
    }
    paths.sort_unstable();
    passed_over.runs.sort_unstable();
    Ok((paths, passed_over))
}

/// The label of each of the sorted `paths`, and the class names.
fn classes(paths: &[Box<Path>]) -> (Vec<Option<u32>>, Vec<String>) {
    let mut names: Vec<OsString> = Vec::new();
    let mut labels = Vec::with_capacity(paths.len());
    for path in paths {
        let mut parts = path.iter();
        let label = match (parts.next(), parts.next()) {
            (Some(folder), Some(_)) => {
                // The paths are sorted from the root down, so the images of a class are contiguous.
                if names.last().is_none_or(|last| last != folder) {
                    names.push(folder.into());
                }
                Some(names.len() as u32 - 1)
            }
            _ => None,
        };
        labels.push(label);
    }
    (labels, names.iter().map(path_name).collect())
}

fn is_broken_link(path: &Path) -> bool {
    path.is_symlink() && std::fs::metadata(path).is_err()
}

fn refuse_folder(path: &Path, source: std::io::Error) -> DataError {
    DataError::Folder { path: path.into(), source }
}

fn known_extensions() -> String {
    IMAGE_EXTENSIONS.join(", ")
}
