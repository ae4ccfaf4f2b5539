//! Reads the rows of a table of classes.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value};

use crate::source::extensions::{is_array, is_image};

/// Accepted names of the image column, in any case, the preferred ones first.
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
/// Accepted names of the class column, in any case, the preferred ones first.
const CLASS_COLUMNS: [&str; 8] =
    ["class", "label", "class_name", "label_name", "target", "category", "classes", "labels"];

/// A row that names an image.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) line: u64,
    pub(super) image: String,
    /// `None` if the row does not label the image; empty only if the image is known to have no class.
    pub(super) classes: Option<Vec<String>>,
}

/// Options for reading a table.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reading<'a> {
    /// The separator of the classes in a cell.
    pub(super) separator: Option<&'a str>,
    /// Whether a table without classes is accepted.
    pub(super) unlabelled: bool,
}

/// The rows of a table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rows {
    pub(super) rows: Vec<Row>,
    /// Whether the caller declared that the table has lists of classes.
    pub(super) lists: bool,
}

/// The columns that hold the image and the classes of a row.
#[derive(Clone, Debug)]
enum Columns {
    /// One column has the image, another its class or classes.
    Named { image: usize, class: usize },
    /// One column per class holds 1 for the images that have it. `names` are the names of all columns.
    OneHot { image: usize, names: Vec<String> },
    /// No column has classes.
    None { image: usize },
}

impl Rows {
    /// Reads a table in the format given by its extension.
    pub(super) fn read(path: &Path, reading: Reading<'_>) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_lowercase();
        let rows = match ending.as_str() {
            "csv" => Self::separated(text, false, reading),
            "tsv" => Self::separated(text, true, reading),
            "jsonl" => Self::of_json(text, reading),
            _ => Err("its name ends in neither .csv nor .tsv nor .jsonl".into()),
        }?;
        let control = |text: &String| text.chars().any(char::is_control);
        let broken = |row: &&Row| control(&row.image) || row.classes.iter().flatten().any(control);
        match rows.rows.iter().find(broken) {
            Some(Row { line, .. }) => {
                Err(format!("line {line} has a control character, such as a line break, in a name"))
            }
            None => Ok(rows),
        }
    }

    /// Reads separated values. The separator of a CSV file is the comma or the semicolon, whichever is more frequent in
    /// the first line. If both occur there and one of them separates the classes in a cell, it is the other one.
    fn separated(text: &str, tab: bool, reading: Reading<'_>) -> Result<Self, String> {
        let first = text.lines().next().unwrap_or_default();
        let count = |character: char| first.matches(character).count();
        let [commas, semicolons] = [',', ';'].map(count);
        let semicolon = match reading.separator {
            Some(list) if list.contains(';') && commas > 0 => false,
            Some(list) if list.contains(',') && semicolons > 0 => true,
            _ => semicolons > commas,
        };
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(if tab { b'\t' } else { [b',', b';'][usize::from(semicolon)] })
            .has_headers(false)
            .flexible(true)
            .trim(csv::Trim::All)
            .from_reader(text.as_bytes());
        let mut rows = Self { rows: Vec::new(), lists: reading.separator.is_some() };
        let mut columns: Option<Columns> = None;
        for record in reader.records() {
            let record = record.map_err(|error| error.to_string())?;
            // The reported position of a record is the end of the previous one, before any empty lines.
            let line = record.position().map_or(0, |at| {
                let empty = text[at.byte() as usize..].chars().take_while(|c| matches!(c, '\r' | '\n'));
                at.line() + empty.filter(|c| *c == '\n').count() as u64
            });
            let Some(columns) = &mut columns else {
                let names: Vec<&str> = record.iter().collect();
                let found = Columns::of(&names, reading)?;
                let is_file = |name: &str| is_image(Path::new(name)) || is_array(Path::new(name));
                let (headed, found) = match (found, &names[..]) {
                    (Some(found), _) => (true, found),
                    (None, [first, _]) if is_file(first) => (false, Columns::Named { image: 0, class: 1 }),
                    (None, [first]) if reading.unlabelled && is_file(first) => {
                        (false, Columns::None { image: 0 })
                    }
                    _ if reading.unlabelled => return Err(no_images(&names)),
                    _ => return Err(no_columns(&names)),
                };
                if !headed {
                    rows.see(&record, line, &found, reading)?;
                }
                columns = Some(found);
                continue;
            };
            if let (true, true, Columns::OneHot { image, .. }) =
                (reading.unlabelled, rows.rows.is_empty(), &*columns)
            {
                let other = |(column, cell): (usize, &str)| column != *image && zero_or_one(cell).is_none();
                if record.iter().enumerate().any(other) {
                    *columns = Columns::None { image: *image };
                }
            }
            rows.see(&record, line, columns, reading)?;
        }
        Ok(rows)
    }

    fn see(
        &mut self,
        record: &csv::StringRecord,
        line: u64,
        columns: &Columns,
        reading: Reading<'_>,
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
                let classes = match reading.separator {
                    Some(list) => {
                        let classes = text.split(list).map(str::trim).filter(|class| !class.is_empty());
                        Some(classes.map(str::to_owned).collect())
                    }
                    None => (!text.is_empty()).then(|| vec![text.to_owned()]),
                };
                (image, classes)
            }
            Columns::None { image } => (cell(*image)?, None),
            Columns::OneHot { image, names } => {
                let mut classes = Vec::new();
                for (column, name) in names.iter().enumerate().filter(|(column, _)| column != image) {
                    let text = cell(column)?;
                    match zero_or_one(text) {
                        Some(true) => classes.push(name.clone()),
                        Some(false) => {}
                        None if self.rows.is_empty() => {
                            return Err(no_columns(&names.iter().map(String::as_str).collect::<Vec<_>>()));
                        }
                        None => {
                            return Err(format!(
                                "line {line}: {name} is {text:?}, but must be 0 or 1, as in the rows before"
                            ));
                        }
                    }
                }
                (cell(*image)?, Some(classes))
            }
        };
        self.push(line, image.to_owned(), classes);
        Ok(())
    }

    fn push(&mut self, line: u64, image: String, mut classes: Option<Vec<String>>) {
        if !image.is_empty() {
            let mut seen = BTreeSet::new();
            if let Some(classes) = &mut classes {
                classes.retain(|class| seen.insert(class.clone()));
            }
            self.rows.push(Row { line, image, classes });
        }
    }

    /// Reads JSON objects, one per line.
    fn of_json(text: &str, reading: Reading<'_>) -> Result<Self, String> {
        let mut rows = Self { rows: Vec::new(), lists: reading.separator.is_some() };
        for (line, text) in (1..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty()) {
            let object: Map<String, Value> = serde_json::from_str(text)
                .map_err(|error| format!("line {line} is not a JSON object: {error}"))?;
            let names: Vec<&str> = object.keys().map(String::as_str).collect();
            let (image, class) = match (header(&names), find(&names, &IMAGE_COLUMNS)) {
                (Some((image, class)), _) => (image, Some(class)),
                (None, Some(image)) if reading.unlabelled => (image, None),
                _ => return Err(format!("line {line}: {}", no_fields(&names))),
            };
            let word = |column: usize, value: &Value| {
                word(value).ok_or_else(|| {
                    format!(
                        "line {line}: {} is {value}, but must be a string, an integer or a Boolean",
                        names[column]
                    )
                })
            };
            let image = match &object[names[image]] {
                Value::Array(values) if values.len() == 1 => word(image, &values[0])?,
                value => word(image, value)?,
            };
            let Some(class) = class else {
                rows.push(line, image, None);
                continue;
            };
            let value = &object[names[class]];
            let mut classes = match (value, reading.separator) {
                (Value::Null, _) => {
                    rows.push(line, image, None);
                    continue;
                }
                (Value::Array(values), _) => {
                    values.iter().map(|value| word(class, value)).collect::<Result<Vec<_>, _>>()?
                }
                (Value::String(text), Some(list)) => {
                    text.split(list).map(|class| class.trim().to_owned()).collect()
                }
                (value, _) => vec![word(class, value)?],
            };
            classes.retain(|class| !class.is_empty());
            // An empty list means no classes; an empty string means no label.
            let is_list = reading.separator.is_some() || value.as_array().is_some_and(Vec::is_empty);
            rows.push(line, image, (!classes.is_empty() || is_list).then_some(classes));
        }
        Ok(rows)
    }
}

/// Parses a cell of a 0 and 1 column.
fn zero_or_one(cell: &str) -> Option<bool> {
    match cell {
        "1" | "1.0" => Some(true),
        "0" | "0.0" => Some(false),
        _ => None,
    }
}

/// The text of a string, an integer or a Boolean; empty for null.
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
    /// Returns `None` if the names are unknown, as in a first row that is not a header.
    fn of(names: &[&str], reading: Reading<'_>) -> Result<Option<Self>, String> {
        if let Some((image, class)) = header(names) {
            return Ok(Some(Self::Named { image, class }));
        }
        let Some(image) = find(names, &IMAGE_COLUMNS) else { return Ok(None) };
        let mut seen = BTreeSet::new();
        if let Some(name) = names.iter().find(|name| name.is_empty() || !seen.insert(**name)) {
            if reading.unlabelled {
                return Ok(Some(Self::None { image }));
            }
            let bad =
                if name.is_empty() { "a column without a name" } else { "two columns of the same name" };
            return Err(format!("it has {bad}, but no column of classes: {}", names.join(", ")));
        }
        if reading.unlabelled && names.len() == 1 {
            return Ok(Some(Self::None { image }));
        }
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Ok(Some(Self::OneHot { image, names }))
    }
}

/// Finds the column of the first known name that occurs. A table may have both a name and an id column.
fn find(names: &[&str], known: &[&str]) -> Option<usize> {
    known.iter().find_map(|known| names.iter().position(|name| name.eq_ignore_ascii_case(known)))
}

/// The columns of the images and of their classes.
fn header(names: &[&str]) -> Option<(usize, usize)> {
    match (find(names, &IMAGE_COLUMNS), find(names, &CLASS_COLUMNS), names.len()) {
        (Some(image), Some(class), _) => Some((image, class)),
        (Some(image), None, 2) => Some((image, 1 - image)),
        (None, Some(class), 2) => Some((1 - class, class)),
        _ => None,
    }
}

fn no_columns(names: &[&str]) -> String {
    needs("column", ", or one of 0 and 1 for each class", names)
}

fn no_images(names: &[&str]) -> String {
    let known = IMAGE_COLUMNS[..4].join(", ");
    format!("it needs a column of images (such as {known}), but has: {}", names.join(", "))
}

fn no_fields(names: &[&str]) -> String {
    needs("field", "", names)
}

fn needs(part: &str, or: &str, names: &[&str]) -> String {
    format!(
        "it needs a {part} of images (such as {}) and one of classes (such as {}){or}, but has: {}",
        IMAGE_COLUMNS[..4].join(", "),
        CLASS_COLUMNS[..2].join(", "),
        names.join(", ")
    )
}
