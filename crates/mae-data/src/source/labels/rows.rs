//! The rows of a table of classes.

use std::path::Path;

use serde_json::{Map, Value};

use crate::source::extensions::is_image;

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

/// A row that gives an image classes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) line: u64,
    pub(super) image: String,
    pub(super) classes: Vec<String>,
}

/// The rows of a table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rows {
    /// Those with an image and something in the columns of classes.
    pub(super) rows: Vec<Row>,
    /// Whether an image may have several classes, or none of them.
    pub(super) several: bool,
}

/// Where the classes of a row stand.
#[derive(Clone, Debug)]
enum Columns {
    /// In a cell of the image and one of its classes.
    Named { image: usize, class: usize },
    /// In a cell for each class, which holds 1 for the images that have it: the names of all columns.
    OneHot { image: usize, names: Vec<String> },
}

impl Rows {
    /// Rows of separated values. In a CSV file, values are separated by the one of comma and semicolon that its first line has more of;
    /// `list` separates the classes in a cell.
    pub(super) fn separated(text: &str, tab: bool, list: Option<&str>) -> Result<Self, String> {
        let first = text.lines().next().unwrap_or_default();
        let count = |character: char| first.matches(character).count();
        let semicolon = list == Some(",") || (count(';') > count(',') && list != Some(";"));
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(if tab { b'\t' } else { [b',', b';'][usize::from(semicolon)] })
            .has_headers(false)
            .flexible(true)
            .trim(csv::Trim::All)
            .from_reader(text.as_bytes());
        let mut rows = Self { rows: Vec::new(), several: list.is_some() };
        let mut columns: Option<Columns> = None;
        for record in reader.records() {
            let record = record.map_err(|error| error.to_string())?;
            // A record begins behind the one before it, at the empty lines between them.
            let line = record.position().map_or(0, |at| {
                let empty = text[at.byte() as usize..].chars().take_while(|c| matches!(c, '\r' | '\n'));
                at.line() + empty.filter(|c| *c == '\n').count() as u64
            });
            let Some(columns) = &columns else {
                let names: Vec<&str> = record.iter().collect();
                let found = Columns::of(&names);
                let (headed, found) = match (found, &names[..]) {
                    (Some(found), _) => (true, found),
                    (None, [first, _]) if is_image(Path::new(first)) => {
                        (false, Columns::Named { image: 0, class: 1 })
                    }
                    _ => return Err(no_columns(&names)),
                };
                if !headed {
                    rows.read(&record, line, &found, list)?;
                }
                columns = Some(found);
                continue;
            };
            rows.read(&record, line, columns, list)?;
        }
        if let Some(Columns::OneHot { .. }) = columns {
            rows.several |= rows.rows.iter().any(|row| row.classes.len() != 1);
        }
        Ok(rows)
    }

    fn read(
        &mut self,
        record: &csv::StringRecord,
        line: u64,
        columns: &Columns,
        list: Option<&str>,
    ) -> Result<(), String> {
        let cell = |column: usize| {
            let fields = record.len();
            let short =
                || format!("line {line} has {fields} fields, but its column {} is needed", column + 1);
            record.get(column).ok_or_else(short)
        };
        let (image, classes) = match columns {
            Columns::Named { image, class } => {
                let (image, text) = (cell(*image)?, cell(*class)?);
                let classes: Vec<&str> = match list {
                    Some(list) => text.split(list).map(str::trim).filter(|class| !class.is_empty()).collect(),
                    None if text.is_empty() => return Ok(()),
                    None => vec![text],
                };
                (image, classes.into_iter().map(str::to_owned).collect())
            }
            Columns::OneHot { image, names } => {
                let mut classes = Vec::new();
                for (column, name) in names.iter().enumerate().filter(|(column, _)| column != image) {
                    match cell(column)? {
                        "1" | "1.0" => classes.push(name.clone()),
                        "0" | "0.0" => {}
                        _ if self.rows.is_empty() => {
                            return Err(no_columns(&names.iter().map(String::as_str).collect::<Vec<_>>()));
                        }
                        other => {
                            return Err(format!(
                                "line {line}: {name} is {other:?}, but must be 0 or 1, as in the rows before"
                            ));
                        }
                    }
                }
                (cell(*image)?, classes)
            }
        };
        if !image.is_empty() {
            self.rows.push(Row { line, image: image.to_owned(), classes });
        }
        Ok(())
    }

    /// Rows of objects, a line each. A list of classes has several, or none, if one of the lists has not just one.
    pub(super) fn of_json(text: &str, list: Option<&str>) -> Result<Self, String> {
        let mut rows = Self { rows: Vec::new(), several: list.is_some() };
        for (line, text) in (1..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty()) {
            let object: Map<String, Value> = serde_json::from_str(text)
                .map_err(|error| format!("line {line} is no JSON object: {error}"))?;
            let names: Vec<&str> = object.keys().map(String::as_str).collect();
            let (image, class) =
                header(&names).ok_or_else(|| format!("line {line}: {}", no_columns(&names)))?;
            let word = |column: usize, value: &Value| {
                word(value).ok_or_else(|| {
                    format!(
                        "line {line}: {} is {value}, but must be a string, an integer or a Boolean",
                        names[column]
                    )
                })
            };
            let (image, value) = (word(image, &object[names[image]])?, &object[names[class]]);
            let classes = match (value, list) {
                (Value::Null, _) => continue,
                (Value::Array(values), _) => {
                    rows.several |= values.len() != 1;
                    values.iter().map(|value| word(class, value)).collect::<Result<Vec<_>, _>>()?
                }
                (Value::String(text), Some(list)) => {
                    text.split(list).map(|class| class.trim().to_owned()).collect()
                }
                (value, _) => vec![word(class, value)?],
            };
            let classes: Vec<String> = classes.into_iter().filter(|class| !class.is_empty()).collect();
            let unknown = classes.is_empty() && list.is_none() && !value.is_array();
            if !image.is_empty() && !unknown {
                rows.rows.push(Row { line, image, classes });
            }
        }
        Ok(rows)
    }
}

/// The text of a value that is one; empty for null.
fn word(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Bool(_) => Some(value.to_string()),
        Value::Number(number) if number.is_i64() => Some(value.to_string()),
        _ => None,
    }
}

impl Columns {
    fn of(names: &[&str]) -> Option<Self> {
        if let Some((image, class)) = header(names) {
            return Some(Self::Named { image, class });
        }
        let image = find(names, &IMAGE_COLUMNS)?;
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Some(Self::OneHot { image, names })
    }
}

/// The first of the known names that is there: a table may have a name and an id.
fn find(names: &[&str], known: &[&str]) -> Option<usize> {
    known.iter().find_map(|known| names.iter().position(|name| name.eq_ignore_ascii_case(known)))
}

/// The columns of images and of classes.
fn header(names: &[&str]) -> Option<(usize, usize)> {
    match (find(names, &IMAGE_COLUMNS), find(names, &CLASS_COLUMNS), names.len()) {
        (Some(image), Some(class), _) => Some((image, class)),
        (Some(image), None, 2) => Some((image, 1 - image)),
        (None, Some(class), 2) => Some((1 - class, class)),
        _ => None,
    }
}

fn no_columns(names: &[&str]) -> String {
    format!(
        "it needs a column of images (such as {}) and one of classes (such as {}), or one of 0 and 1 for each class, but has: {}",
        IMAGE_COLUMNS[..4].join(", "),
        CLASS_COLUMNS[..2].join(", "),
        names.join(", ")
    )
}
