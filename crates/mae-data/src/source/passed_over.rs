//! Files and folders below a data set's folder that are skipped, although a user may expect them to be read.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::name::shown;

/// Extensions of image formats that cannot be read.
const OTHER_IMAGES: [&str; 44] = [
    "heic", "heif", "hif", "avif", "jxl", "jp2", "j2k", "j2c", "jpf", "jpx", "jpc", "jls", "jxr", "wdp",
    "pam", "pfm", "exr", "hdr", "dds", "tga", "pcx", "ico", "cur", "psd", "svg", "qoi", "ff", "dcm", "dicom",
    "dib", "sgi", "fits", "raw", "dng", "cr2", "cr3", "nef", "arw", "orf", "rw2", "raf", "pef", "srw", "x3f",
];

/// Extensions of files that may contain images but are not opened.
const ARCHIVES: [&str; 15] = [
    "tar", "tgz", "gz", "bz2", "xz", "zst", "zip", "7z", "rar", "parquet", "arrow", "tfrecord", "lmdb",
    "mdb", "h5",
];

/// Folders that file servers and systems create: thumbnails and deleted images.
const SYSTEM_FOLDERS: [&str; 5] = ["@eaDir", "__MACOSX", "#recycle", "@Recycle", "$RECYCLE.BIN"];

/// Files and folders below a data set's folder that are not part of the data set, although a user may expect them to
/// be.
///
/// Its `Display` is one line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PassedOver {
    /// Counts of files by kind, such as `.heic`, or `links to .jpg` in a tar file.
    pub files: BTreeMap<String, usize>,
    /// Counts of folders that file servers and systems create, such as `@eaDir`, by name.
    pub folders: BTreeMap<String, usize>,
    /// Paths of the folders of runs, whose pictures are not data, below the data set's folder.
    pub runs: Vec<String>,
}

impl PassedOver {
    pub(crate) const NOTHING: Self =
        Self { files: BTreeMap::new(), folders: BTreeMap::new(), runs: Vec::new() };

    /// Whether nothing was passed over.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.folders.is_empty() && self.runs.is_empty()
    }

    /// Says what to do about the skipped files, if anything can be done.
    pub(crate) fn advice(&self) -> Option<String> {
        let ends = |known: &[&str]| {
            let known = |name: &&String| known.iter().any(|end| name.strip_prefix('.') == Some(*end));
            self.files.keys().find(known).cloned()
        };
        let image = ends(&OTHER_IMAGES).map(|end| {
            format!("convert images, for instance with ImageMagick's `magick mogrify -format png *{end}`")
        });
        let archive = ends(&ARCHIVES).map(|end| match end.as_str() {
            ".tar" => "name a folder that holds tar files and no image files, or unpack them".to_owned(),
            ".parquet" => "name a folder that holds Parquet files and no image files, or the file".to_owned(),
            _ => format!("unpack {end} files"),
        });
        let advice: Vec<_> = image.into_iter().chain(archive).collect();
        (!advice.is_empty()).then(|| advice.join("; "))
    }

    pub(crate) fn file(&mut self, what: impl Into<String>) {
        *self.files.entry(what.into()).or_insert(0) += 1;
    }

    /// Counts a file if its extension is that of a file that may contain images.
    pub(crate) fn see_file(&mut self, path: &Path) {
        let Some(end) = path.extension().and_then(|end| end.to_str()) else { return };
        let end = end.to_ascii_lowercase();
        if OTHER_IMAGES.contains(&end.as_str()) || ARCHIVES.contains(&end.as_str()) {
            self.file(format!(".{end}"));
        }
    }

    /// Counts a folder if file servers or systems create folders of this name. Returns whether it did.
    pub(crate) fn see_folder(&mut self, path: &Path) -> bool {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let known = SYSTEM_FOLDERS.contains(&name);
        if known {
            *self.folders.entry(name.to_owned()).or_insert(0) += 1;
        }
        known
    }
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = |counts: &BTreeMap<String, usize>| {
            counts.iter().map(|(name, count)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
        };
        let mut parts = Vec::new();
        if !self.files.is_empty() {
            parts.push(format!("files: {}", counts(&self.files)));
        }
        if !self.folders.is_empty() {
            parts.push(format!("system folders: {}", counts(&self.folders)));
        }
        if !self.runs.is_empty() {
            parts.push(format!(
                "folders of runs: {}",
                shown(&self.runs, String::clone).collect::<Vec<_>>().join(", ")
            ));
        }
        f.write_str(&if parts.is_empty() { "nothing".to_owned() } else { parts.join("; ") })
    }
}

/// Whether a folder is the folder of a run: it contains a recipe and another file or folder that a run creates.
pub(crate) fn is_run(folder: &Path) -> bool {
    folder.join("recipe.toml").is_file()
        && ["lock", "checkpoints", "metrics.jsonl"].iter().any(|name| folder.join(name).exists())
}
