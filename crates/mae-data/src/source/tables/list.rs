//! Image files that a table names as a data set.

use std::path::{Path, PathBuf};

use mae_image::{path_name, stored_format};

use crate::source::labels::{Labels, Listed};
use crate::{AnyImage, DataError, DecodeLimits, Encoded, FolderOptions, ImageSource, PixelFormat};

/// Files that are looked for when a list is opened.
const LOOKED_FOR: usize = 32;

/// The image files that a CSV, TSV or JSON Lines table names, in the order of its rows.
///
/// - Columns are those of a [`LabelTable`](crate::LabelTable), but a table without a column of classes is a data set without labels. A CSV
///   or TSV table of one column needs no header if its first row names an image file.
/// - A path is absolute or relative to the table's folder.
/// - A row with an empty cell or `null` for its class is an image without a label.
/// - Several rows of one image count as one. They must agree on its class, unless the table is multi-label.
/// - A file that is missing is an error when it is loaded. Opening looks for 32 files spread over the table, and refuses the table if none
///   of them is there.
#[derive(Clone, Debug)]
pub struct ImageList {
    paths: Vec<Box<Path>>,
    labels: Labels,
    class_names: Vec<String>,
    limits: DecodeLimits,
    pixels: PixelFormat,
}

impl ImageList {
    /// Reads the table, of the kind that its name ends in: `.csv`, `.tsv` or `.jsonl`. It opens no image, unless it has to find out what
    /// they are decoded to.
    ///
    /// # Errors
    /// [`DataError::List`] names the line and what is wrong with it, or the columns if no column of images is found.
    pub fn open(table: impl Into<PathBuf>, options: FolderOptions) -> Result<Self, DataError> {
        let table = table.into();
        let Listed { paths, lines, labels, class_names } = Listed::read(&table)?;
        let mut looked_for =
            (0..paths.len().min(LOOKED_FOR)).map(|index| index * paths.len() / paths.len().min(LOOKED_FOR));
        if !looked_for.any(|index| paths[index].exists()) {
            let (line, first) = (lines[0], path_name(&paths[0]));
            let reason = format!(
                "line {line} names {first}, which does not exist, as others do not; a path is absolute or relative to the \
                 table's folder"
            );
            return Err(DataError::List { path: table, reason });
        }
        let FolderOptions { limits, pixels } = options;
        let as_is = pixels.unwrap_or_default();
        let mut list = Self { paths, labels, class_names, limits, pixels: as_is };
        if pixels.is_none() {
            list.pixels = PixelFormat::common(list.len(), |index| list.stored_format(index));
        }
        Ok(list)
    }

    fn path(&self, index: usize) -> Result<&Path, DataError> {
        let path = self.paths.get(index).ok_or(DataError::Index { index, len: self.len() })?;
        Ok(path)
    }
}

impl ImageSource for ImageList {
    fn len(&self) -> usize {
        self.paths.len()
    }

    fn pixels(&self) -> PixelFormat {
        self.pixels
    }

    fn stored_format(&self, index: usize) -> Option<PixelFormat> {
        stored_format(self.paths.get(index)?, &self.limits).ok()
    }

    fn load(&self, index: usize) -> Result<AnyImage, DataError> {
        Ok(self.open(index)?.decode()?)
    }

    fn open(&self, index: usize) -> Result<Encoded, DataError> {
        Ok(Encoded::read(self.path(index)?, self.pixels, &self.limits)?)
    }

    fn name(&self, index: usize) -> String {
        self.path(index).map_or_else(|_| String::new(), path_name)
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
}
