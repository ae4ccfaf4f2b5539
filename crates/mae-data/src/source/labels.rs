//! Tables of classes, for images that do not lie in class folders.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf, absolute};

use serde_json::{Map, Value};

use crate::source::extensions::is_image;
use crate::{DataError, path_name};

/// What a column with the images' names may be called, in any case.
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
/// The same for a column with their classes.
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
/// - A row without a class is as no row.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelTable {
    path: PathBuf,
    /// Line, image, class.
    rows: Vec<(u64, String, String)>,
}

/// The images of a folder that a table names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Labelled {
    /// By index of the image.
    pub(crate) labels: Vec<Option<u32>>,
    /// Rows that name no image of the folder.
    pub(crate) rows_without_image: usize,
    /// Rows of the table.
    pub(crate) rows: usize,
}

impl LabelTable {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a file is called as a table is.
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
        if rows.is_empty() {
            return Err(refused("it has no row with an image and a class".into()));
        }
        Ok(Self { path: path.into(), rows })
    }

    /// The classes of some tables, in their order.
    pub fn classes<'a>(tables: impl IntoIterator<Item = &'a Self>) -> Vec<String> {
        let classes =
            tables.into_iter().flat_map(|table| table.rows.iter().map(|(_, _, class)| class.clone()));
        let mut classes: Vec<String> = classes.collect::<BTreeSet<_>>().into_iter().collect();
        if classes.iter().all(|class| class.parse::<i64>().is_ok()) {
            classes.sort_by_key(|class| class.parse::<i64>().unwrap_or_default());
        }
        classes
    }

    /// Finds the label of each image of a folder, of images below `root`.
    pub(crate) fn label(
        &self,
        root: &Path,
        images: &[Box<Path>],
        classes: &[String],
    ) -> Result<Labelled, DataError> {
        let refused = |reason: String| DataError::Labels { path: self.path.clone(), reason };
        let labels_of: HashMap<&str, u32> =
            (0..).zip(classes).map(|(i, class)| (class.as_str(), i)).collect();
        let known = Names::of(root, images, &self.path);
        let mut found: Vec<Option<(u64, u32)>> = vec![None; images.len()];
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
            let Some(label) = labels_of.get(class.as_str()) else {
                return Err(refused(format!("line {line}: {class} is none of the classes")));
            };
            match found[index] {
                Some((before, other)) if other != *label => {
                    let (first, second) = (&classes[other as usize], class);
                    return Err(refused(format!(
                        "line {line}: {image} is {second}, but {first} in line {before}; an image has one class"
                    )));
                }
                _ => found[index] = Some((*line, *label)),
            }
        }
        if missing.len() == self.rows.len() {
            let names = missing[..missing.len().min(SHOWN)].join(", ");
            return Err(refused(format!("it names no image in {}, but {names}", path_name(root))));
        }
        Ok(Labelled {
            labels: found.into_iter().map(|found| found.map(|(_, label)| label)).collect(),
            rows_without_image: missing.len(),
            rows: self.rows.len(),
        })
    }
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
    root: PathBuf,
    /// The folder of the table.
    table: PathBuf,
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
        let absolute = |path: &Path| absolute(path).unwrap_or_else(|_| path.into());
        let table = absolute(table).parent().map_or_else(PathBuf::new, Path::to_owned);
        let (mut paths, mut files, mut stems) = (HashMap::new(), HashMap::new(), HashMap::new());
        for (index, path) in images.iter().enumerate() {
            paths.insert(path.to_path_buf(), index);
            for (name, names) in [(path.file_name(), &mut files), (path.file_stem(), &mut stems)] {
                let name = name.unwrap_or_default().to_string_lossy().into_owned();
                names.entry(name).and_modify(|found| *found = None).or_insert(Some(index));
            }
        }
        Self { root: absolute(root), table, paths, files, stems }
    }

    fn find(&self, name: &str) -> Found {
        let path: PathBuf = Path::new(name).components().filter(|part| part.as_os_str() != ".").collect();
        if let Some(index) = self.paths.get(&path) {
            return Found::Image(*index);
        }
        let below = self.table.join(&path);
        if let Some(index) = below.strip_prefix(&self.root).ok().and_then(|path| self.paths.get(path)) {
            return Found::Image(*index);
        }
        let named = self.files.get(name).or_else(|| self.stems.get(name));
        match named {
            Some(Some(index)) => Found::Image(*index),
            Some(None) => Found::Several,
            None => Found::None,
        }
    }
}
