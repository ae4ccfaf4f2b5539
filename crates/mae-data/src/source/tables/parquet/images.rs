//! Images in Parquet files as a data set.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mae_image::{ImageError, format_of, path_name, stored_format};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};

use super::cache::Cache;
use super::classes::Classes;
use super::columns::Columns;
use super::pages::{At, Chunk, read_bytes};
use super::rows::texts;
use super::{files, guarded};
use crate::source::labels::Labels;
use crate::{AnyImage, DataError, DecodeLimits, Encoded, FolderOptions, ImageSource, PixelFormat};

/// Images in Parquet files, as written by Hugging Face `datasets`, pandas or polars, in the order of files and rows.
///
/// - The image column is a struct of `bytes` and `path`, as `datasets.Image()` writes it, or a column of bytes called
///   `image`, `img`, `bytes` or similar. If there are several, it is the first called `image`, `img` or `picture`.
/// - The class column is called `label`, `labels`, `class`, `fine_label` or similar. It has strings or integers. The
///   names of integer classes are those that `datasets` stores in the file, otherwise the integers themselves. A column
///   of lists is multi-label. An image is unlabelled if its class is `null`, an empty string, or -1 where classes have
///   names. Named classes keep the order of the file; others are sorted like class folders.
/// - Where `bytes` is `null`, the file at `path` is read, as `datasets` does. The path is absolute or relative to the
///   table's folder. A row without either is an error when it is loaded.
///
/// Opening reads the footers of the files, the classes and the paths, but no image, except to determine the pixel
/// format if `options.pixels` is `None`. Loading an image reads the page that contains it. The file's offset index
/// locates the page, or the page headers if there is no index. Pages that are not compressed, as `datasets` writes
/// them, are read whole only once: this gives the offsets of their images, and each further image is read alone. Of
/// other pages, up to 64 MiB are cached after decoding.
#[derive(Debug)]
pub struct ParquetImages {
    files: Vec<TableFile>,
    chunks: Vec<Group>,
    len: usize,
    /// The path of each image, if the files have paths.
    paths: Option<Vec<Option<Box<str>>>>,
    labels: Labels,
    class_names: Vec<String>,
    cache: Cache,
    limits: DecodeLimits,
    pixels: PixelFormat,
}

#[derive(Debug)]
struct TableFile {
    path: PathBuf,
    /// The index of the file's first image.
    first: usize,
}

/// The images of a row group.
#[derive(Debug)]
struct Group {
    file: usize,
    /// The index of the group's first image.
    first: usize,
    chunk: Chunk,
}

impl ParquetImages {
    /// Opens a Parquet file, or all Parquet files below a folder at any depth, sorted by path.
    ///
    /// # Errors
    /// [`DataError::Parquet`] with the file, and with its columns if it has no image column, or with the splits if a
    /// folder contains several; [`DataError::Folder`] if the folder cannot be listed.
    pub fn open(path: impl AsRef<Path>, options: FolderOptions) -> Result<Self, DataError> {
        let path = path.as_ref();
        let files = if path.is_dir() { files::files(path)? } else { vec![path.into()] };
        if files.is_empty() {
            return Err(DataError::Parquet { path: path.into(), reason: "it holds no Parquet file".into() });
        }
        Self::open_files(files, options)
    }

    /// Opens files as one data set.
    ///
    /// # Errors
    /// [`DataError::Parquet`] with the file that cannot be read, or whose columns differ from those of the first.
    pub fn open_files(files: Vec<PathBuf>, options: FolderOptions) -> Result<Self, DataError> {
        let FolderOptions { limits, pixels } = options;
        let mut opening = Opening::default();
        for path in files {
            guarded(|| opening.add(&path))
                .map_err(|reason| DataError::Parquet { path: path.clone(), reason })?;
        }
        let Opening { files, chunks, len, paths, classes, .. } = opening;
        if len == 0 {
            let path = files.into_iter().next().map(|file| file.path).unwrap_or_default();
            return Err(DataError::Parquet { path, reason: "it has no rows".into() });
        }
        let (labels, class_names) = classes.unwrap_or_default().finish();
        let cache = Cache::default();
        let (paths, pixels_now) = (paths.iter().any(Option::is_some).then_some(paths), PixelFormat::Rgb8);
        let mut images =
            Self { files, chunks, len, paths, labels, class_names, cache, limits, pixels: pixels_now };
        images.pixels =
            pixels.unwrap_or_else(|| PixelFormat::common(images.len, |index| images.stored_format(index)));
        Ok(images)
    }

    /// The path by which errors report an image: the file, the row, and the path stored with the image.
    fn path(&self, index: usize) -> PathBuf {
        let number = self.files.partition_point(|file| file.first <= index).saturating_sub(1);
        let Some(file) = self.files.get(number) else { return PathBuf::new() };
        let row = index - file.first;
        match self.paths.as_ref().and_then(|paths| paths[index].as_ref()) {
            Some(path) => file.path.join(format!("{row} ({path})")),
            None => file.path.join(row.to_string()),
        }
    }

    /// The image file that a row refers to instead of containing it.
    fn named(&self, index: usize) -> Result<PathBuf, DataError> {
        let number = self.files.partition_point(|file| file.first <= index) - 1;
        let TableFile { path: table, first } = &self.files[number];
        let stored = self.paths.as_ref().and_then(|paths| paths[index].as_deref());
        let path = stored.map(|stored| table.parent().unwrap_or(Path::new("")).join(stored));
        let missing = match path {
            Some(path) if path.is_file() => return Ok(path),
            Some(path) => format!(", and there is no file {}", path_name(path)),
            None => String::new(),
        };
        let reason = format!("row {}: its image is null{missing}", index - first);
        Err(DataError::Parquet { path: table.clone(), reason })
    }

    /// The encoded image in a row; `None` if the row does not contain it.
    fn encoded(&self, index: usize) -> Result<Option<Vec<u8>>, DataError> {
        if index >= self.len {
            return Err(DataError::Index { index, len: self.len });
        }
        let number = self.chunks.partition_point(|group| group.first <= index) - 1;
        let Group { file, first, chunk } = &self.chunks[number];
        let TableFile { path, first: first_of_file } = &self.files[*file];
        let refused = |reason: String| {
            let reason = format!("row {}: {reason}", index - first_of_file);
            DataError::Parquet { path: path.clone(), reason }
        };
        let max_bytes = self.limits.max_bytes;
        let check = |bytes: usize| match bytes as u64 > max_bytes {
            true => Err(ImageError::FileTooLarge { path: self.path(index), bytes: bytes as u64, max_bytes }),
            false => Ok(()),
        };
        let opened = Arc::new(File::open(path).map_err(|error| refused(error.to_string()))?);
        match guarded(|| chunk.find(&opened, index - first)).map_err(refused)? {
            At::Span(offset, bytes) => {
                check(bytes)?;
                Ok(Some(read_bytes(&opened, offset, bytes).map_err(refused)?.into()))
            }
            At::Page(page, row) => {
                let read = || self.cache.get((number, page), || chunk.read(&opened, page));
                let page = guarded(read).map_err(refused)?;
                let Some(value) = page.values[row].as_ref() else { return Ok(None) };
                check(value.len())?;
                Ok(Some(value.data().to_vec()))
            }
            At::Null => Ok(None),
        }
    }
}

impl ImageSource for ParquetImages {
    fn len(&self) -> usize {
        self.len
    }

    fn pixels(&self) -> PixelFormat {
        self.pixels
    }

    fn stored_format(&self, index: usize) -> Option<PixelFormat> {
        match self.encoded(index).ok()? {
            Some(bytes) => format_of(&self.path(index), &bytes, &self.limits).ok(),
            None => stored_format(self.named(index).ok()?, &self.limits).ok(),
        }
    }

    fn load(&self, index: usize) -> Result<AnyImage, DataError> {
        Ok(self.open(index)?.decode()?)
    }

    fn open(&self, index: usize) -> Result<Encoded, DataError> {
        Ok(match self.encoded(index)? {
            Some(bytes) => Encoded::new(self.path(index), bytes, self.pixels, &self.limits)?,
            None => Encoded::read(self.named(index)?, self.pixels, &self.limits)?,
        })
    }

    fn name(&self, index: usize) -> String {
        if index < self.len { path_name(self.path(index)) } else { String::new() }
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

/// The state while opening files one after the other.
#[derive(Default)]
struct Opening {
    files: Vec<TableFile>,
    chunks: Vec<Group>,
    len: usize,
    paths: Vec<Option<Box<str>>>,
    classes: Option<Classes>,
    /// The columns of the first file.
    columns: Option<Columns>,
}

impl Opening {
    fn add(&mut self, path: &Path) -> Result<(), String> {
        let file = Arc::new(File::open(path).map_err(|error| error.to_string())?);
        let metadata = footer(&file)?;
        let columns = Columns::of(metadata.file_metadata())?;
        match (&self.columns, self.files.first()) {
            (Some(first), Some(TableFile { path, .. })) if *first != columns => {
                return Err(format!("its columns or classes are not those of {}", path_name(path)));
            }
            _ => {}
        }
        let label = columns.label.as_ref();
        let classes = self.classes.get_or_insert_with(|| Classes::of(label));
        let first = self.len;
        for (number, group) in metadata.row_groups().iter().enumerate() {
            let (image, rows) = (group.column(columns.image), group.num_rows());
            if rows < 0 || image.num_values() != rows {
                return Err(format!("row group {number} has {rows} rows, but {} images", image.num_values()));
            }
            let index = metadata.page_index_for_row_group(number);
            let chunk = Chunk::new(image, rows as usize, index.page_locations(columns.image))?;
            match label {
                Some(label) => {
                    for (row, values) in texts(&file, group, label.leaf)?.into_iter().enumerate() {
                        let refuse = |error| format!("row {}: {error}", self.len - first + row);
                        classes.push(values).map_err(refuse)?;
                    }
                }
                None => classes.push_none(rows as usize),
            }
            match columns.path {
                Some(leaf) => {
                    let paths = texts(&file, group, leaf)?;
                    self.paths.extend(paths.into_iter().map(|path| Some(path?.pop()?.into())));
                }
                None => self.paths.resize(self.paths.len() + rows as usize, None),
            }
            if chunk.rows > 0 {
                self.chunks.push(Group { file: self.files.len(), first: self.len, chunk });
                self.len += rows as usize;
            }
        }
        self.files.push(TableFile { path: path.into(), first });
        self.columns.get_or_insert(columns);
        Ok(())
    }
}

/// Reads the footer of a file, and its offset index if there is one that can be read.
fn footer(file: &Arc<File>) -> Result<ParquetMetaData, String> {
    let read = |policy| {
        let reader = ParquetMetaDataReader::new().with_offset_index_policy(policy);
        reader.parse_and_finish(&**file).map_err(|error| error.to_string())
    };
    guarded(|| read(PageIndexPolicy::Optional)).or_else(|_| read(PageIndexPolicy::Skip))
}
