//! Tables of classes, for images that do not lie in class folders.

use std::collections::{BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf, absolute};

use serde_json::{Map, Value};

use crate::source::extensions::is_image;
use crate::{DataError, path_name};

/// Accepted names of the image column, in any case.
const IMAGE_COLUMNS: [&str; 12] = [
    "path",
    "file",
    "filename",
    "file_name",
    "filepath",
    "file_path",
    "image",
    "image_path",
    "image_id",
    "img",
    "name",
    "id",
];
/// Accepted names of the class column, in any case.
const CLASS_COLUMNS: [&str; 8] =
    ["class", "label", "class_name", "label_name", "target", "category", "classes", "labels"];

/// Rows and names that a message shows.
const SHOWN: usize = 3;

/// A table of images and their classes: CSV, TSV or lines of JSON.
///
/// - A column called `path`, `file_name`, `image` or the like names the images, one called `class`, `label` or the like their classes. In
///   a table of two columns one of these names is enough, and none is needed if the first row names an image file.
/// - An image is named by its path below the folder of images, by its path from the table's folder, or by its file name, with or without
///   the extension, if no other image has the same.
/// - Integer classes are in their numerical order, all others in the order of their bytes, as class folders are.
/// - Rows without a class are ignored.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelTable {
    path: PathBuf,
    /// Line, image, class.
    rows: Vec<(u64, String, String)>,
}

/// The images of a folder that a table names.
pub(crate) struct Labelled {
    /// By index of the image.
    pub(crate) labels: Vec<Option<u32>>,
    pub(crate) class_names: Vec<String>,
    pub(crate) rows: TableRows,
}

/// The rows of a table of classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct TableRows {
    /// Rows with an image and a class.
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
        let path = path.as_ref();
        let refused = |reason: String| DataError::Labels { path: path.into(), reason };
        let text = std::fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_lowercase();
        let rows = match ending.as_str() {
            "csv" => separated(text, None),
            "tsv" => separated(text, Some(b'\t')),
            "jsonl" => lines_of_json(text),
            _ => Err("its name ends in neither .csv nor .tsv nor .jsonl".into()),
        };
        let mut rows = rows.map_err(refused)?;
        rows.retain(|(_, image, class)| !image.is_empty() && !class.is_empty());
        let control = |text: &str| text.chars().any(char::is_control);
        if let Some((line, ..)) = rows.iter().find(|(_, image, class)| control(image) || control(class)) {
            return Err(refused(format!(
                "line {line} has a control character, such as a line break, in a name"
            )));
        }
        if rows.is_empty() {
            return Err(refused("it has no row with an image and a class".into()));
        }
        Ok(Self { path: path.into(), rows })
    }

    /// Finds the class of each image of a folder, of images below `root`.
    pub(crate) fn label(&self, root: &Path, images: &[Box<Path>]) -> Result<Labelled, DataError> {
        let refused = |reason: String| DataError::Labels { path: self.path.clone(), reason };
        let known = Names::of(root, images, &self.path);
        let mut found: Vec<Option<(u64, &str)>> = vec![None; images.len()];
        let mut missing: Vec<&str> = Vec::new();
        for (line, image, class) in &self.rows {
            let index = match known.find(image) {
                Found::Image(index) => index,
                Found::Several => {
                    return Err(refused(format!(
                        "line {line}: several images are called {image}; name its path"
                    )));
                }
                Found::None => {
                    missing.push(image);
                    continue;
                }
            };
            match found[index] {
                Some((before, other)) if other != class => {
                    return Err(refused(format!(
                        "line {line}: {image} is {class}, but {other} in line {before}; an image has one class"
                    )));
                }
                _ => found[index] = Some((*line, class)),
            }
        }
        if missing.len() == self.rows.len() {
            let names = missing[..missing.len().min(SHOWN)].join(", ");
            let (count, root) = (self.rows.len(), path_name(root));
            return Err(refused(format!("none of its {count} images is in {root}; the first are {names}")));
        }
        let classes = sorted(found.iter().flatten().map(|(_, class)| *class));
        let labels: HashMap<&str, u32> = classes.iter().copied().zip(0..).collect();
        Ok(Labelled {
            labels: found.iter().map(|found| found.map(|(_, class)| labels[class])).collect(),
            class_names: classes.iter().map(|class| (*class).to_owned()).collect(),
            rows: TableRows { all: self.rows.len(), without_image: missing.len() },
        })
    }

    /// The first row that names an image in each of two folders, as text.
    pub(crate) fn ambiguous(&self, [first, second]: [(&Path, &[Box<Path>]); 2]) -> Option<String> {
        let [first, second] = [first, second].map(|(root, images)| Names::of(root, images, &self.path));
        let in_both = |image: &str| {
            matches!((first.find(image), second.find(image)), (Found::Image(_), Found::Image(_)))
        };
        let (line, image, _) = self.rows.iter().find(|(_, image, _)| in_both(image))?;
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

type Rows = Vec<(u64, String, String)>;

/// Rows of separated values; the separator of a CSV file is the one of comma and semicolon that its first line has more of.
fn separated(text: &str, separator: Option<u8>) -> Result<Rows, String> {
    let first = text.lines().next().unwrap_or_default();
    let count = |character: char| first.matches(character).count();
    let separator = separator.unwrap_or(if count(';') > count(',') { b';' } else { b',' });
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(separator)
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let mut columns = None;
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| error.to_string())?;
        // A record begins behind the one before it, at the empty lines between them.
        let line = record.position().map_or(0, |at| {
            let empty = text[at.byte() as usize..].chars().take_while(|c| matches!(c, '\r' | '\n'));
            at.line() + empty.filter(|c| *c == '\n').count() as u64
        });
        let Some((image, class)) = columns else {
            let names: Vec<&str> = record.iter().collect();
            let headed = header(&names);
            columns = Some(match (headed, &names[..]) {
                (Some(columns), _) => columns,
                (None, [first, _]) if is_image(Path::new(first)) => (0, 1),
                _ => return Err(no_columns(&names)),
            });
            if headed.is_none() {
                rows.push((line, names[0].to_owned(), names[1].to_owned()));
            }
            continue;
        };
        let cell = |column: usize| {
            let fields = record.len();
            let short =
                || format!("line {line} has {fields} fields, but its column {} is needed", column + 1);
            record.get(column).map(str::to_owned).ok_or_else(short)
        };
        rows.push((line, cell(image)?, cell(class)?));
    }
    Ok(rows)
}

/// Rows of objects, a line each.
fn lines_of_json(text: &str) -> Result<Rows, String> {
    let mut rows = Vec::new();
    for (line, text) in (1..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty()) {
        let object: Map<String, Value> =
            serde_json::from_str(text).map_err(|error| format!("line {line} is no JSON object: {error}"))?;
        let names: Vec<&str> = object.keys().map(String::as_str).collect();
        let (image, class) = header(&names).ok_or_else(|| format!("line {line}: {}", no_columns(&names)))?;
        let value = |column: usize| {
            word(&object[names[column]]).map_err(|value| {
                format!(
                    "line {line}: {} is {value}, but must be one string, integer or Boolean",
                    names[column]
                )
            })
        };
        rows.push((line, value(image)?, value(class)?));
    }
    Ok(rows)
}

/// The text of a value, empty for none; of a list with one value that one's.
fn word(value: &Value) -> Result<String, &Value> {
    match value {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text.trim().to_owned()),
        Value::Bool(_) => Ok(value.to_string()),
        Value::Number(number) if number.is_i64() => Ok(value.to_string()),
        Value::Array(values) if values.len() == 1 => word(&values[0]),
        _ => Err(value),
    }
}

/// The columns of images and of classes.
fn header(names: &[&str]) -> Option<(usize, usize)> {
    // The first of the known names that is there: a table may have a name and an id.
    let find = |known: &[&str]| {
        known.iter().find_map(|known| names.iter().position(|name| name.eq_ignore_ascii_case(known)))
    };
    match (find(&IMAGE_COLUMNS), find(&CLASS_COLUMNS), names.len()) {
        (Some(image), Some(class), _) => Some((image, class)),
        (Some(image), None, 2) => Some((image, 1 - image)),
        (None, Some(class), 2) => Some((1 - class, class)),
        _ => None,
    }
}

fn no_columns(names: &[&str]) -> String {
    format!(
        "it needs a column of images (such as {}) and one of classes (such as {}), but has: {}",
        IMAGE_COLUMNS[..4].join(", "),
        CLASS_COLUMNS[..2].join(", "),
        names.join(", ")
    )
}

/// What the images of a folder may be called.
struct Names {
    /// The folder of images, as it was named and as links lead to it.
    roots: [PathBuf; 2],
    /// The same of the table's folder.
    tables: [PathBuf; 2],
    /// Paths below the root, file names, and file names without their extension; no index where several have the name.
    paths: HashMap<PathBuf, usize>,
    files: HashMap<String, Option<usize>>,
    stems: HashMap<String, Option<usize>>,
}

enum Found {
    Image(usize),
    Several,
    None,
}

impl Names {
    fn of(root: &Path, images: &[Box<Path>], table: &Path) -> Self {
        let both = |path: &Path| {
            let named = plain(&absolute(path).unwrap_or_else(|_| path.into()));
            let real = path.canonicalize().unwrap_or_else(|_| named.clone());
            [named, real]
        };
        let table = match table.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let (mut paths, mut files, mut stems) = (HashMap::new(), HashMap::new(), HashMap::new());
        for (index, path) in images.iter().enumerate() {
            paths.insert(path.to_path_buf(), index);
            for (name, names) in [(path.file_name(), &mut files), (path.file_stem(), &mut stems)] {
                let name = name.unwrap_or_default().to_string_lossy().into_owned();
                names.entry(name).and_modify(|found| *found = None).or_insert(Some(index));
            }
        }
        Self { roots: both(root), tables: both(table), paths, files, stems }
    }

    fn find(&self, name: &str) -> Found {
        if let Some(index) = self.paths.get(&plain(Path::new(name))) {
            return Found::Image(*index);
        }
        for table in &self.tables {
            let path = plain(&table.join(name));
            let mut below = self.roots.iter().filter_map(|root| path.strip_prefix(root).ok());
            if let Some(index) = below.find_map(|path| self.paths.get(path)) {
                return Found::Image(*index);
            }
        }
        match self.files.get(name).or_else(|| self.stems.get(name)) {
            Some(Some(index)) => Found::Image(*index),
            Some(None) => Found::Several,
            None => Found::None,
        }
    }
}

/// A path without `.` and `..`, where there is something before.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(plain.components().next_back(), Some(Component::Normal(_))) => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}
