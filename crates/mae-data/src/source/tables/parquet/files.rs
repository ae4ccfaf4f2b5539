//! Finds the Parquet files of a folder and their splits.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::source::extensions::is_hidden;
use crate::{DataError, path_name};

/// Known names of splits, for files without a shard number in their name.
const SPLITS: [&str; 8] = ["train", "test", "validation", "valid", "val", "dev", "eval", "unsupervised"];

/// All Parquet files below a folder, sorted by path. Hidden ones are skipped.
///
/// # Errors
/// [`DataError::Folder`] if the folder or one below it cannot be listed, [`DataError::Parquet`] if the files belong to
/// several splits.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let files = list(folder)?;
    let splits: BTreeSet<String> = files.iter().filter_map(|file| split_of(folder, file)).collect();
    if splits.len() > 1 {
        let names = splits.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let example = path_name(folder.join(splits.first().map_or("", String::as_str)));
        let reason = format!("it holds files of several splits: {names}; name one, as in {example}");
        return Err(DataError::Parquet { path: folder.into(), reason });
    }
    Ok(files)
}

/// The files of a split that is named like a sub-folder: `DIR/train` means the files of the split `train` below `DIR`.
/// `None` if the path exists, or if the split has no file.
pub(crate) fn split(path: &Path) -> Option<Vec<PathBuf>> {
    let (folder, name) = (path.parent()?, path.file_name()?.to_str()?);
    let folder = if folder == Path::new("") { Path::new(".") } else { folder };
    if path.exists() || !folder.is_dir() {
        return None;
    }
    let mut files = list(folder).ok()?;
    files.retain(|file| split_of(folder, file).as_deref() == Some(name));
    (!files.is_empty()).then_some(files)
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut files = Vec::new();
    let seen = |entry: &walkdir::DirEntry| entry.depth() == 0 || !is_hidden(entry.file_name());
    for entry in WalkDir::new(folder).follow_links(true).into_iter().filter_entry(seen) {
        match entry {
            Ok(entry)
                if entry.file_type().is_file()
                    && entry
                        .path()
                        .extension()
                        .is_some_and(|ending| ending.eq_ignore_ascii_case("parquet")) =>
            {
                files.push(entry.into_path());
            }
            Ok(_) => {}
            Err(error) if error.loop_ancestor().is_some() => {}
            Err(error) => {
                let path = error.path().unwrap_or(folder).to_path_buf();
                return Err(DataError::Folder { path, source: error.into() });
            }
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// The split of a file: `train` for `train-00000-of-00002.parquet`, `train.parquet` and `train/0000.parquet`.
fn split_of(folder: &Path, file: &Path) -> Option<String> {
    let stem = file.file_stem()?.to_str()?;
    if let Some(split) = numbered(stem) {
        return Some(split.into());
    }
    let below = file.strip_prefix(folder).ok()?.parent()?;
    let folders = below.iter().rev().filter_map(|name| name.to_str());
    let known = |name: &&str| SPLITS.contains(name);
    std::iter::once(stem).chain(folders).find(known).map(Into::into)
}

/// The split in a name such as `train-00000-of-00002` or `train-00000-of-00002-0123456789abcdef`.
fn numbered(stem: &str) -> Option<&str> {
    let number = |text: &str| text.len() >= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    let (before, after) = stem.rsplit_once("-of-")?;
    let (split, index) = before.rsplit_once('-')?;
    let count = after.split_once('-').map_or(after, |(count, _)| count);
    (number(index) && number(count) && !split.is_empty()).then_some(split)
}
