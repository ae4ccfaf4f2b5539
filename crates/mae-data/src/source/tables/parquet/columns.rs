//! Finds the columns of a Parquet file that hold images, their paths and their classes.

use parquet::basic::{ConvertedType, LogicalType, Type as Physical};
use parquet::file::metadata::FileMetaData;
use parquet::schema::types::{ColumnDescriptor, SchemaDescriptor};
use serde_json::Value;

/// Accepted names of the image column, in any case, the preferred ones first.
const IMAGES: [&str; 10] =
    ["image", "img", "picture", "bytes", "image_bytes", "image_data", "photo", "jpg", "jpeg", "png"];
/// The number of names at the start of `IMAGES` that decide between several image columns.
const PREFERRED: usize = 3;
/// Accepted names of the class column, in any case, the preferred ones first.
const LABELS: [&str; 12] = [
    "label",
    "labels",
    "class",
    "classes",
    "class_name",
    "label_name",
    "target",
    "category",
    "fine_label",
    "fine_labels",
    "class_label",
    "cls",
];

/// The columns of a data set, by leaf index.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Columns {
    pub(super) image: usize,
    /// The column of the images' paths, if any.
    pub(super) path: Option<usize>,
    pub(super) label: Option<LabelColumn>,
}

/// A column of classes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LabelColumn {
    pub(super) leaf: usize,
    /// Whether a row has a list of classes.
    pub(super) list: bool,
    /// Whether the classes are integers.
    pub(super) integer: bool,
    /// The names of the classes, if the integers are indices into them.
    pub(super) names: Option<Vec<String>>,
}

impl Columns {
    /// Finds the columns in a file's schema and metadata.
    pub(super) fn of(file: &FileMetaData) -> Result<Self, String> {
        let schema = file.schema_descr();
        let (image, path) = images(schema).ok_or_else(|| {
            let columns: Vec<String> = schema.columns().iter().map(|column| column.path().string()).collect();
            format!(
                "it needs a column of images (bytes called {}, or a struct with bytes in it), but has: {}",
                IMAGES[..PREFERRED].join(", "),
                columns.join(", ")
            )
        })?;
        Ok(Self { image, path, label: label(schema, &features(file))? })
    }
}

/// The leaves of the images' bytes and of their paths.
fn images(schema: &SchemaDescriptor) -> Option<(usize, Option<usize>)> {
    let leaves = schema.columns();
    let find = |root: &str, name: &str| {
        leaves.iter().position(|leaf| {
            let parts = leaf.path().parts();
            parts.len() == 2 && parts[0] == root && parts[1] == name && leaf.max_rep_level() == 0
        })
    };
    let mut fitting: Vec<(&str, usize, Option<usize>)> = Vec::new();
    for (number, leaf) in leaves.iter().enumerate() {
        if leaf.physical_type() != Physical::BYTE_ARRAY || leaf.max_rep_level() > 0 {
            continue;
        }
        match leaf.path().parts() {
            [name] if !is_text(leaf) && rank(name, &IMAGES).is_some() => fitting.push((name, number, None)),
            [root, name] if name == "bytes" => fitting.push((root, number, find(root, "path"))),
            _ => {}
        }
    }
    let preferred =
        fitting.iter().min_by_key(|(name, ..)| rank(name, &IMAGES[..PREFERRED]).unwrap_or(PREFERRED));
    preferred.map(|(_, image, path)| (*image, path.filter(|path| is_bytes(&leaves[*path]))))
}

fn label(schema: &SchemaDescriptor, features: &Value) -> Result<Option<LabelColumn>, String> {
    let leaves = schema.columns();
    let root = |leaf: usize| leaves[leaf].path().parts()[0].as_str();
    let named = (0..leaves.len()).filter_map(|leaf| Some((rank(root(leaf), &LABELS)?, leaf))).min();
    let classes = || (0..leaves.len()).find(|leaf| names(&features[root(*leaf)]).is_some());
    let Some(leaf) = named.map(|(_, leaf)| leaf).or_else(classes) else { return Ok(None) };
    let (column, list) = (&leaves[leaf], leaves[leaf].max_rep_level() == 1);
    let integer = matches!(column.physical_type(), Physical::INT32 | Physical::INT64);
    let parts = column.path().parts().len();
    // A list is a group with a repeated group of elements. Some writers omit one level.
    if !(integer || is_bytes(column)) || column.max_rep_level() > 1 || (!list && parts > 1) || parts > 3 {
        return Err(format!(
            "its column {} must be of integers or strings, or lists of them, but is of {}",
            column.path().string(),
            column.physical_type()
        ));
    }
    let names = if integer { names(&features[root(leaf)]) } else { None };
    Ok(Some(LabelColumn { leaf, list, integer, names }))
}

/// The position of a name in `known`, compared in any case.
fn rank(name: &str, known: &[&str]) -> Option<usize> {
    known.iter().position(|known| name.eq_ignore_ascii_case(known))
}

fn is_bytes(column: &ColumnDescriptor) -> bool {
    column.physical_type() == Physical::BYTE_ARRAY
}

fn is_text(column: &ColumnDescriptor) -> bool {
    column.converted_type() == ConvertedType::UTF8
        || column.logical_type_ref().is_some_and(|logical| *logical == LogicalType::String)
}

/// The column features that the Hugging Face `datasets` package stores in a file.
fn features(file: &FileMetaData) -> Value {
    let entry = file.key_value_metadata().into_iter().flatten().find(|entry| entry.key == "huggingface");
    let text = entry.and_then(|entry| entry.value.as_deref()).unwrap_or_default();
    let mut said: Value = serde_json::from_str(text).unwrap_or_default();
    said["info"]["features"].take()
}

/// The class names of a column of integers, or of lists of integers.
fn names(feature: &Value) -> Option<Vec<String>> {
    let within = |feature: &Value| -> Option<Vec<String>> {
        let names = feature.get("names")?.as_array()?;
        names.iter().map(|name| name.as_str().map(str::to_owned)).collect()
    };
    within(feature).or_else(|| within(feature.get("feature")?)).or_else(|| within(feature.get(0)?))
}
