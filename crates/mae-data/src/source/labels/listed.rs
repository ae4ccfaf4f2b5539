//! The image files that a table lists, with their classes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::assign::{Labels, assign};
use super::names::{folder_of, plain};
use super::rows::{Reading, Row, Rows};
use crate::DataError;

/// The images of a table, in the order of its rows.
pub(crate) struct Listed {
    /// The path in the row, joined to the table's folder unless it is absolute.
    pub(crate) paths: Vec<Box<Path>>,
    /// For each image, the first line that names it.
    pub(crate) lines: Vec<u64>,
    pub(crate) labels: Labels,
    pub(crate) class_names: Vec<String>,
}

impl Listed {
    /// Reads a table. An image named by several rows is listed once, with the classes of all of them if the table is
    /// multi-label.
    pub(crate) fn read(table: &Path) -> Result<Self, DataError> {
        let refused = |reason: String| DataError::List { path: table.into(), reason };
        let reading = Reading { separator: None, unlabelled: true };
        let Rows { rows, lists } = Rows::read(table, reading).map_err(refused)?;
        let folder = folder_of(table);
        let (mut paths, mut lines, mut known) = (Vec::new(), Vec::new(), HashMap::<PathBuf, usize>::new());
        let mut named: Vec<(usize, &Row)> = Vec::with_capacity(rows.len());
        for row in &rows {
            let path = folder.join(Path::new(&row.image));
            let index = *known.entry(plain(&path)).or_insert_with(|| {
                paths.push(path.components().collect::<PathBuf>().into());
                lines.push(row.line);
                paths.len() - 1
            });
            named.push((index, row));
        }
        if paths.is_empty() {
            return Err(refused("it has no row with an image".into()));
        }
        let (labels, class_names) = assign(&named, paths.len(), lists).map_err(refused)?;
        Ok(Self { paths, lines, labels, class_names })
    }
}
