//! Finds the image of a folder that a name in a table refers to.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf, absolute};

/// The names by which a table may refer to the images of a folder.
pub(super) struct Names {
    /// The folder of images: the given path, and the path with symbolic links resolved.
    roots: [PathBuf; 2],
    /// The table's folder, in the same two forms.
    tables: [PathBuf; 2],
    /// Maps paths below the root to indices. `files` maps file names, and `stems` file names without extension, with
    /// `None` for a name that several images share.
    paths: HashMap<PathBuf, usize>,
    files: HashMap<String, Option<usize>>,
    stems: HashMap<String, Option<usize>>,
}

pub(super) enum Found {
    Image(usize),
    Several,
    None,
}

impl Names {
    pub(super) fn of(root: &Path, images: &[Box<Path>], table: &Path) -> Self {
        let both = |path: &Path| {
            let named = plain(&absolute(path).unwrap_or_else(|_| path.into()));
            let real = path.canonicalize().unwrap_or_else(|_| named.clone());
            [named, real]
        };
        let table = folder_of(table);
        let (mut paths, mut files, mut stems) = (HashMap::new(), HashMap::new(), HashMap::new());
        for (index, path) in images.iter().enumerate() {
            paths.insert(path.to_path_buf(), index);
            for (name, names) in [(path.file_name(), &mut files), (path.file_stem(), &mut stems)] {
                let name = name.unwrap_or_default().to_string_lossy().into_owned();
                names.entry(name).and_modify(|found| *found = None).or_insert(Some(index));
            }
        }
        Self { roots: both(root), tables: both(table), paths, files, stems }
    }

    pub(super) fn find(&self, name: &str) -> Found {
        if let Some(index) = self.paths.get(&plain(Path::new(name))) {
            return Found::Image(*index);
        }
        for table in &self.tables {
            let path = plain(&table.join(name));
            let mut below = self.roots.iter().filter_map(|root| path.strip_prefix(root).ok());
            if let Some(index) = below.find_map(|path| self.paths.get(path)) {
                return Found::Image(*index);
            }
        }
        match self.files.get(name).or_else(|| self.stems.get(name)) {
            Some(Some(index)) => Found::Image(*index),
            Some(None) => Found::Several,
            None => Found::None,
        }
    }
}

/// The folder that contains a file.
pub(super) fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// Removes `.` from a path, and each `..` together with the component before it, if there is one.
pub(super) fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(plain.components().next_back(), Some(Component::Normal(_))) => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}
