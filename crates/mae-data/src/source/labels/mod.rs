//! Tables of classes, for images that do not lie in class folders.

mod names;
mod rows;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use crate::{DataError, path_name};
use names::{Found, Names};
use rows::{Row, Rows};

/// Rows and names that a message shows.
const SHOWN: usize = 3;

/// A table of images and their classes: CSV, TSV or lines of JSON.
///
/// - A column called `path`, `file_name`, `image` or the like names the images, one called `class`, `label` or the like their classes. In
///   a table of two columns one of these names is enough, and none is needed if the first row names an image file. Without a column of
///   classes, all other columns are classes, with 1 for the images that have them and 0 for the others (CSV and TSV).
/// - An image is named by its path below the folder of images, by its path from the table's folder, or by its file name, with or without
///   the extension, if no other image has the same.
/// - Integer classes are in their numerical order, all others in the order of their bytes, as class folders are.
/// - A row with an empty cell or `null` for its class is ignored.
///
/// The images of a table are multi-label, that is, an image may have several classes or none, if it is read by
/// [`read_lists`](Self::read_lists); if a list of classes in JSON does not have just one; or if columns of 0 and 1 do not have just one 1
/// in a row. Only rows that name an image count. An image of several rows then has the classes of all.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelTable {
    path: PathBuf,
    rows: Rows,
}

/// The classes of the images of a set, by index.
#[derive(Clone, Debug)]
pub(crate) enum Labels {
    /// One of each image that is labelled.
    One(Vec<Option<u32>>),
    /// Any number of each image that is labelled, in their order.
    Several(Vec<Option<Box<[u32]>>>),
}

/// The images of a folder that a table names.
pub(crate) struct Labelled {
    pub(crate) labels: Labels,
    pub(crate) class_names: Vec<String>,
    pub(crate) rows: TableRows,
}

impl Labels {
    /// The only class of an image.
    pub(crate) fn one(&self, index: usize) -> Option<u32> {
        match self {
            Self::One(labels) => labels.get(index).copied().flatten(),
            Self::Several(_) => None,
        }
    }

    /// All classes of an image.
    pub(crate) fn all(&self, index: usize) -> Option<Vec<u32>> {
        match self {
            Self::One(_) => self.one(index).map(|label| vec![label]),
            Self::Several(labels) => labels.get(index)?.as_ref().map(|labels| labels.to_vec()),
        }
    }

    /// The same classes under other numbers.
    pub(crate) fn renumbered(&self, numbers: &[u32]) -> Self {
        let number = |label: u32| numbers[label as usize];
        match self {
            Self::One(labels) => Self::One(labels.iter().map(|label| label.map(number)).collect()),
            Self::Several(labels) => Self::Several(
                labels
                    .iter()
                    .map(|labels| {
                        let mut labels: Box<[u32]> = labels.as_ref()?.iter().copied().map(number).collect();
                        labels.sort_unstable();
                        Some(labels)
                    })
                    .collect(),
            ),
        }
    }

    /// The same classes of images that may have several.
    pub(crate) fn multi_label(self) -> Self {
        match self {
            Self::One(labels) => {
                Self::Several(labels.into_iter().map(|label| Some([label?].into())).collect())
            }
            several => several,
        }
    }
}

/// The rows of a table of classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct TableRows {
    /// Rows that name an image and label it.
    pub all: usize,
    /// Those of them that name no image in the folder.
    pub without_image: usize,
}

impl LabelTable {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a file name has a table's extension.
    pub(crate) fn may_be(path: &Path) -> bool {
        let ending = path.extension().unwrap_or_default();
        ["csv", "tsv", "jsonl"].iter().any(|known| ending.eq_ignore_ascii_case(known))
    }

    /// Reads a table, of the kind that its name ends in: `.csv`, `.tsv` or `.jsonl`.
    ///
    /// # Errors
    /// [`DataError::Labels`] names the line, and the columns if they are not found.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, DataError> {
        Self::read_from(path.as_ref(), None)
    }

    /// Reads a multi-label table, where `separator` stands between the classes of an image. An empty cell is an image with none of the
    /// classes.
    ///
    /// # Errors
    /// As [`read`](Self::read); [`DataError::Argument`] for an empty separator.
    pub fn read_lists(path: impl AsRef<Path>, separator: &str) -> Result<Self, DataError> {
        if separator.is_empty() {
            let bound = "a character at least, such as ';'".into();
            return Err(DataError::Argument { name: "label_separator", value: "empty".into(), bound });
        }
        Self::read_from(path.as_ref(), Some(separator))
    }

    fn read_from(path: &Path, list: Option<&str>) -> Result<Self, DataError> {
        let refused = |reason: String| DataError::Labels { path: path.into(), reason };
        let text = std::fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_lowercase();
        let rows = match ending.as_str() {
            "csv" => Rows::separated(text, false, list),
            "tsv" => Rows::separated(text, true, list),
            "jsonl" => Rows::of_json(text, list),
            _ => Err("its name ends in neither .csv nor .tsv nor .jsonl".into()),
        };
        let rows = rows.map_err(refused)?;
        let control = |text: &String| text.chars().any(char::is_control);
        let broken = |row: &&Row| control(&row.image) || row.classes.iter().any(control);
        if let Some(Row { line, .. }) = rows.rows.iter().find(broken) {
            return Err(refused(format!(
                "line {line} has a control character, such as a line break, in a name"
            )));
        }
        if rows.rows.iter().all(|row| row.classes.is_empty()) {
            return Err(refused("it has no row with an image and a class".into()));
        }
        Ok(Self { path: path.into(), rows })
    }

    /// Finds the classes of each image of a folder, of images below `root`.
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
                        "line {line}: several images are called {image}; name its path"
                    )));
                }
                Found::None => missing.push(image),
            }
        }
        // Rows that name no image in the folder do not count.
        let several = self.rows.lists || named.iter().any(|(_, row)| row.classes.len() != 1);
        let mut found: Vec<Option<(u64, Vec<&str>)>> = vec![None; images.len()];
        for (index, Row { line, image, classes }) in named {
            let classes = classes.iter().map(String::as_str);
            match &mut found[index] {
                Some((_, before)) if several => before.extend(classes),
                Some((before, other)) if !classes.clone().eq(other.iter().copied()) => {
                    let (class, other) = (&classes.collect::<Vec<_>>()[0], &other[0]);
                    return Err(refused(format!(
                        "line {line}: {image} is {class}, but {other} in line {before}; an image has one class, unless \
                         the table has lists"
                    )));
                }
                found => *found = Some((*line, classes.collect())),
            }
        }
        if missing.len() == rows.len() {
            let names = missing[..missing.len().min(SHOWN)].join(", ");
            let (count, root) = (rows.len(), path_name(root));
            return Err(refused(format!("none of its {count} images is in {root}; the first are {names}")));
        }
        let classes = sorted(found.iter().flatten().flat_map(|(_, classes)| classes).copied());
        let labels: HashMap<&str, u32> = classes.iter().copied().zip(0..).collect();
        let all = found.iter().map(|found| {
            let (_, classes) = found.as_ref()?;
            let labels: BTreeSet<u32> = classes.iter().map(|class| labels[class]).collect();
            Some(labels.into_iter().collect::<Box<[u32]>>())
        });
        Ok(Labelled {
            labels: match several {
                true => Labels::Several(all.collect()),
                false => Labels::One(all.map(|labels| labels?.first().copied()).collect()),
            },
            class_names: classes.iter().map(|class| (*class).to_owned()).collect(),
            rows: TableRows { all: rows.len(), without_image: missing.len() },
        })
    }

    /// The first row that names an image in each of two folders, as text.
    pub(crate) fn ambiguous(&self, [first, second]: [(&Path, &[Box<Path>]); 2]) -> Option<String> {
        let [first, second] = [first, second].map(|(root, images)| Names::of(root, images, &self.path));
        let in_both = |image: &str| {
            matches!((first.find(image), second.find(image)), (Found::Image(_), Found::Image(_)))
        };
        let Row { line, image, .. } = self.rows.rows.iter().find(|row| in_both(&row.image))?;
        Some(format!("line {line}: {image}"))
    }
}

/// Classes in their order: integers in numerical order, all others in the order of their bytes.
pub(crate) fn sorted<'a>(classes: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut classes: Vec<&str> = classes.collect::<BTreeSet<_>>().into_iter().collect();
    if classes.iter().all(|class| class.parse::<i64>().is_ok()) {
        classes.sort_by_key(|class| class.parse::<i64>().unwrap_or_default());
    }
    classes
}
