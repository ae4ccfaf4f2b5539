//! Opens images by the kind of a path: a folder, packed or not, or a table.

use std::path::Path;
use std::sync::Arc;

use crate::source::labels::LabelTable;
use crate::source::shard_index::Index;
use crate::{DataError, FolderOptions, ImageFolder, ImageList, ImageSource, ShardSource};

/// The extension of Parquet files.
const PARQUET: &str = "parquet";

/// Whether [`open_images`] opens this file as a table of images, according to its name.
#[must_use]
pub fn is_table(path: &Path) -> bool {
    LabelTable::may_be(path) || is_parquet(path)
}

/// Whether there is anything that [`open_images`] can try to open: a file, a folder, or a split of Parquet files.
#[must_use]
pub fn images_exist(path: &Path) -> bool {
    path.exists() || is_split(path)
}

/// Opens a folder of images, packed or not, or a table.
///
/// - A folder with an index is a [`ShardSource`], any other an [`ImageFolder`]. A folder without image files is a
///   [`ShardSource`] if it contains tar files, otherwise `ParquetImages` if it contains Parquet files.
/// - A `.csv`, `.tsv` or `.jsonl` file is an [`ImageList`], a `.parquet` file is `ParquetImages`.
/// - If `DIR/train` does not exist, it means the Parquet files of the split `train` below `DIR`, such as
///   `DIR/data/train-00000-of-00002.parquet`.
///
/// Parquet files need the feature `parquet`.
///
/// # Errors
/// Those of [`ImageFolder::open`], [`ShardSource::open`], [`ImageList::open`] and `ParquetImages::open`.
pub fn open_images(
    path: impl AsRef<Path>,
    options: FolderOptions,
) -> Result<Arc<dyn ImageSource>, DataError> {
    let path = path.as_ref();
    if is_table(path) && path.is_file() {
        return match is_parquet(path) {
            true => parquet(path, options),
            false => Ok(Arc::new(ImageList::open(path, options)?)),
        };
    }
    if Index::is_in(path) {
        return Ok(Arc::new(ShardSource::open(path, options)?));
    }
    if let Some(split) = split(path, options.clone()) {
        return split;
    }
    match ImageFolder::open(path, options.clone()) {
        Err(DataError::EmptyFolder { passed_over, .. })
            if passed_over.files.contains_key(".parquet") && !passed_over.files.contains_key(".tar") =>
        {
            parquet(path, options)
        }
        Err(empty @ DataError::EmptyFolder { .. }) => match ShardSource::open(path, options) {
            Err(DataError::NoShards { passed_over, .. }) if passed_over.is_empty() => Err(empty),
            opened => Ok(Arc::new(opened?)),
        },
        opened => Ok(Arc::new(opened?)),
    }
}

fn is_parquet(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case(PARQUET))
}

#[cfg(feature = "parquet")]
fn parquet(path: &Path, options: FolderOptions) -> Result<Arc<dyn ImageSource>, DataError> {
    Ok(Arc::new(crate::ParquetImages::open(path, options)?))
}

#[cfg(not(feature = "parquet"))]
fn parquet(path: &Path, _: FolderOptions) -> Result<Arc<dyn ImageSource>, DataError> {
    let reason = "this program was built without the feature parquet of mae-data".into();
    Err(DataError::Parquet { path: path.into(), reason })
}

/// Opens the images of a split of Parquet files; `None` if the path does not name one.
#[cfg(feature = "parquet")]
fn split(path: &Path, options: FolderOptions) -> Option<Result<Arc<dyn ImageSource>, DataError>> {
    let files = super::parquet::split(path)?;
    let images = crate::ParquetImages::open_files(files, options);
    Some(images.map(|images| Arc::new(images) as _))
}

#[cfg(feature = "parquet")]
fn is_split(path: &Path) -> bool {
    super::parquet::split(path).is_some()
}

#[cfg(not(feature = "parquet"))]
fn is_split(_: &Path) -> bool {
    false
}

#[cfg(not(feature = "parquet"))]
fn split(_: &Path, _: FolderOptions) -> Option<Result<Arc<dyn ImageSource>, DataError>> {
    None
}
