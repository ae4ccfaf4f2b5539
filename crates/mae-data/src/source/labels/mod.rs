//! Tables of classes, for images that are not in class folders.

mod assign;
mod listed;
mod names;
mod rows;

use std::path::{Path, PathBuf};

use crate::{DataError, path_name};
use assign::assign;
pub(crate) use assign::{Labels, sorted};
pub(crate) use listed::Listed;
use names::{Found, Names};
use rows::{Reading, Row, Rows};

/// The number of rows and names that a message shows.
const SHOWN: usize = 3;

/// A table of images and their classes: CSV, TSV or JSON Lines.
///
/// - A column called `path`, `file_name`, `image` or similar names the images, and one called `class`, `label` or
///   similar their classes. In a table of two columns, one of these names is enough. No header is needed if the first
///   row names an image file. Without a class column, every other column is a class (CSV and TSV), with 1 for the
///   images that have it and 0 for the others.
/// - An image is named by its path below the folder of images, by its path relative to the table's folder, or by its
///   file name, with or without the extension, if that is unique.
/// - Classes are sorted numerically if all are integers, otherwise by their bytes, like class folders.
/// - A row whose class is an empty cell or `null` is ignored.
///
/// A table is multi-label if an image may have several classes or none. This is so if the table is read by
/// [`read_lists`](Self::read_lists), if a JSON list of classes does not have exactly one class, or if a row of 0 and 1
/// columns does not have exactly one 1. Only rows that name an image count. An image named by several rows of a
/// multi-label table has the classes of all of them.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelTable {
    path: PathBuf,
    rows: Rows,
}

/// The labels that a table gives to the images of a folder.
pub(crate) struct Labelled {
    pub(crate) labels: Labels,
    pub(crate) class_names: Vec<String>,
    pub(crate) rows: TableRows,
}

/// Row counts of a table of classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct TableRows {
    /// Rows that name and label an image.
    pub all: usize,
    /// Those rows whose image is not in the folder.
    pub without_image: usize,
}

impl LabelTable {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a file name has the extension of a table.
    pub(crate) fn may_be(path: &Path) -> bool {
        let ending = path.extension().unwrap_or_default();
        ["csv", "tsv", "jsonl"].iter().any(|known| ending.eq_ignore_ascii_case(known))
    }

    /// Reads a table. Its extension gives its format: `.csv`, `.tsv` or `.jsonl`.
    ///
    /// # Errors
    /// [`DataError::Labels`] with the line, or with the columns if the required ones are missing.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, DataError> {
        Self::read_from(path.as_ref(), None)
    }

    /// Reads a multi-label table whose cells separate classes by `separator`. An empty cell means that the image has
    /// none of the classes.
    ///
    /// # Errors
    /// Those of [`read`](Self::read), and [`DataError::Argument`] for an empty separator.
    pub fn read_lists(path: impl AsRef<Path>, separator: &str) -> Result<Self, DataError> {
        if separator.is_empty() {
            let bound = "at least one character, such as ';'".into();
            return Err(DataError::Argument { name: "label_separator", value: "empty".into(), bound });
        }
        Self::read_from(path.as_ref(), Some(separator))
    }

    fn read_from(path: &Path, separator: Option<&str>) -> Result<Self, DataError> {
        let refused = |reason: String| DataError::Labels { path: path.into(), reason };
        let mut rows = Rows::read(path, Reading { separator, unlabelled: false }).map_err(refused)?;
        rows.rows.retain(|row| row.classes.is_some());
        if rows.rows.iter().flat_map(|row| &row.classes).all(Vec::is_empty) {
            return Err(refused("it has no row with an image and a class".into()));
        }
        Ok(Self { path: path.into(), rows })
    }

    /// Finds the classes of each image of a folder. `images` are paths below `root`.
    pub(crate) fn label(&self, root: &Path, images: &[Box<Path>]) -> Result<Labelled, DataError> {
        let refused = |reason: String| DataError::Labels { path: self.path.clone(), reason };
        let known = Names::of(root, images, &self.path);
        let rows = &self.rows.rows;
        let (mut named, mut missing): (Vec<(usize, &Row)>, Vec<&str>) = (Vec::new(), Vec::new());
        for row @ Row { line, image, .. } in rows {
            match known.find(image) {
                Found::Image(index) => named.push((index, row)),
                Found::Several => {
                    return Err(refused(format!(
                        "line {line}: several images are called {image}; give its path"
                    )));
                }
                Found::None => missing.push(image),
            }
        }
        let (labels, class_names) = assign(&named, images.len(), self.rows.lists).map_err(refused)?;
        if missing.len() == rows.len() {
            let names = missing[..missing.len().min(SHOWN)].join(", ");
            let (count, root) = (rows.len(), path_name(root));
            return Err(refused(format!("none of its {count} images is in {root}; the first are {names}")));
        }
        Ok(Labelled {
            labels,
            class_names,
            rows: TableRows { all: rows.len(), without_image: missing.len() },
        })
    }

    /// Formats the first row that names an image in each of two folders.
    pub(crate) fn ambiguous(&self, [first, second]: [(&Path, &[Box<Path>]); 2]) -> Option<String> {
        let [first, second] = [first, second].map(|(root, images)| Names::of(root, images, &self.path));
        let in_both = |image: &str| {
            matches!((first.find(image), second.find(image)), (Found::Image(_), Found::Image(_)))
        };
        let Row { line, image, .. } = self.rows.rows.iter().find(|row| in_both(&row.image))?;
        Some(format!("line {line}: {image}"))
    }
}
