//! The image folders of a recipe, with the classes that its tables give.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mae_data::{
    DataError, FolderOptions, ImageFolder, ImageSource, LabelTable, PixelFormat, Subset, TableRows,
    open_images,
};

use crate::{DataRecipe, TrainerError};

/// The images of the folders that a recipe names.
pub(super) struct Folders {
    pub train: Option<Arc<dyn ImageSource>>,
    pub val: Option<Arc<dyn ImageSource>>,
    /// A note on each table of classes.
    pub notes: Vec<(&'static str, String)>,
}

/// Opens the folders of a recipe. If `need_labels`, images that a table does not name are left out.
///
/// # Errors
/// If a folder or a table cannot be used.
pub(super) fn folders(recipe: &DataRecipe, need_labels: bool) -> Result<Folders, TrainerError> {
    for (name, table, unused, bound) in [
        ("labels", &recipe.labels, recipe.path.is_none(), "left out for the built-in images"),
        ("val_labels", &recipe.val_labels, recipe.val.is_none(), "left out if val names no folder"),
    ] {
        if let Some(table) = table.as_ref().filter(|_| unused) {
            return Err(TrainerError::argument(name, table.display(), bound));
        }
    }
    if let (Some(separator), None, None) = (&recipe.label_separator, &recipe.labels, &recipe.val_labels) {
        let bound = "left out without a table of classes";
        return Err(TrainerError::argument("label_separator", separator, bound));
    }
    let read = |path: &Option<_>| {
        let read = |path| match &recipe.label_separator {
            Some(separator) => LabelTable::read_lists(path, separator),
            None => LabelTable::read(path),
        };
        path.as_ref().map(read).transpose()
    };
    let (table, own) = (read(&recipe.labels)?, read(&recipe.val_labels)?);
    let (Some(path), true) = (&recipe.path, table.is_some() || own.is_some()) else {
        let open = |path: &Option<PathBuf>, pixels| {
            path.as_ref().map(|path| open_images(path, options(pixels))).transpose()
        };
        let train = open(&recipe.path, recipe.pixels)?;
        let val = open(&recipe.val, Some(pixels_of(recipe, train.as_deref())))?;
        return Ok(Folders { train, val, notes: Vec::new() });
    };
    let mut train = folder(path, recipe.pixels, table.as_ref().map(|table| ("labels", table)))?;
    let mut val = None;
    if let Some(path) = &recipe.val {
        let shared = table.as_ref().filter(|_| own.is_none());
        let named = own.as_ref().map(|own| ("val_labels", own)).or(shared.map(|table| ("labels", table)));
        let folder = folder(path, Some(pixels_of(recipe, Some(&train))), named)?;
        if let Some(table) = shared {
            train.check_apart(&folder, table)?;
        }
        let (first, second) = train.with_common_classes(folder);
        (train, val) = (first, Some(second));
    }
    let mut notes = Vec::new();
    let mut source = |folder: ImageFolder, table: Option<&LabelTable>| -> Arc<dyn ImageSource> {
        let (Some(table), Some(rows)) = (table, folder.table_rows()) else { return Arc::new(folder) };
        notes.push(("labels", line(&folder, table, rows, need_labels)));
        if need_labels { Arc::new(Subset::labelled(Arc::new(folder))) } else { Arc::new(folder) }
    };
    let train = source(train, table.as_ref());
    let val = val.map(|val| source(val, own.as_ref().or(table.as_ref())));
    Ok(Folders { train: Some(train), val, notes })
}

fn options(pixels: Option<PixelFormat>) -> FolderOptions {
    FolderOptions { pixels, ..FolderOptions::default() }
}

/// The pixel format of the held-out images: that of the training images.
fn pixels_of(recipe: &DataRecipe, train: Option<&dyn ImageSource>) -> PixelFormat {
    recipe.pixels.unwrap_or_else(|| train.map_or(PixelFormat::Rgb8, ImageSource::pixels))
}

/// Opens a folder of image files. `table` is a class table, if there is one, with the recipe's field that names it.
fn folder(
    path: &Path,
    pixels: Option<PixelFormat>,
    table: Option<(&'static str, &LabelTable)>,
) -> Result<ImageFolder, TrainerError> {
    match (ImageFolder::open(path, options(pixels)), table) {
        (Err(DataError::EmptyFolder { .. } | DataError::NotAFolder { .. }), Some((name, table)))
            if open_images(path, options(pixels)).is_ok() =>
        {
            let bound = "left out for packed images and tables, which contain their classes";
            Err(TrainerError::argument(name, table.path().display(), bound))
        }
        (folder, Some((_, table))) => Ok(folder?.with_labels(table)?),
        (folder, None) => Ok(folder?),
    }
}

/// Describes how a table fits the images of a folder.
fn line(folder: &ImageFolder, table: &LabelTable, rows: TableRows, need_labels: bool) -> String {
    let without = (0..folder.len()).filter(|index| folder.labels(*index).is_none()).count();
    format!(
        "{}: {} of {} rows name an image in {}; images without a class: {without}{}",
        table.path().display(),
        rows.all - rows.without_image,
        rows.all,
        folder.root().display(),
        if need_labels && without > 0 { ", which are left out" } else { "" }
    ) + match (folder.is_multi_label(), need_labels) {
        (true, true) => "; an image may have several classes",
        (true, false) => "; an image may have several classes: no kNN or linear probe is measured",
        _ => "",
    }
}
