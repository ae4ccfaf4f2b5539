//! Image files named by a table as a data set.

use std::path::{Path, PathBuf};

use mae_image::{path_name, stored_format};

use crate::source::labels::{Labels, Listed};
use crate::{AnyImage, DataError, DecodeLimits, Encoded, FolderOptions, ImageSource, PixelFormat};

/// The number of files whose existence is checked when a list is opened.
const LOOKED_FOR: usize = 32;

/// The image files named by a CSV, TSV or JSON Lines table, in the order of its rows.
///
/// - Columns are those of a [`LabelTable`](crate::LabelTable), but a table without a class column is a data set without
///   labels. A CSV or TSV table of one column needs no header if its first row names an image file.
/// - A path is absolute or relative to the table's folder.
/// - A row whose class is an empty cell or `null` is an image without a label.
/// - Several rows for one image count as one. They must agree on its class, unless the table is multi-label.
/// - A missing file is an error when it is loaded. Opening checks 32 files spread over the table, and refuses the table
///   if none of them exists.
#[derive(Clone, Debug)]
pub struct ImageList {
    paths: Vec<Box<Path>>,
    labels: Labels,
    class_names: Vec<String>,
    limits: DecodeLimits,
    pixels: PixelFormat,
}

impl ImageList {
    /// Reads the table. Its extension gives its format: `.csv`, `.tsv` or `.jsonl`. Opens no image, except to determine
    /// the pixel format if `options.pixels` is `None`.
    ///
    /// # Errors
    /// [`DataError::List`] with the line and the problem, or with the columns if none of them names images.
    pub fn open(table: impl Into<PathBuf>, options: FolderOptions) -> Result<Self, DataError> {
        let table = table.into();
        let Listed { paths, lines, labels, class_names } = Listed::read(&table)?;
        let mut looked_for =
            (0..paths.len().min(LOOKED_FOR)).map(|index| index * paths.len() / paths.len().min(LOOKED_FOR));
        if !looked_for.any(|index| paths[index].exists()) {
            let (line, first) = (lines[0], path_name(&paths[0]));
            let reason = format!(
                "line {line} names {first}, which does not exist, nor do others; paths are absolute or relative to the \
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
