//! Recognises image files by their names.

use std::ffi::OsStr;
use std::path::Path;

/// The extensions of image files, matched in any case. An `npy` file counts only in a folder without other images.
pub const IMAGE_EXTENSIONS: [&str; 17] = [
    "jpg", "jpeg", "jpe", "jfif", "jif", "png", "apng", "webp", "gif", "bmp", "tif", "tiff", "ppm", "pgm",
    "pbm", "pnm", ARRAY,
];

/// The extension of NumPy files. Features and masks, which often lie beside images, have it too.
pub(crate) const ARRAY: &str = "npy";

/// Whether a file is an image by its name.
pub(crate) fn is_image(path: &Path) -> bool {
    !is_hidden(path.file_name().unwrap_or_default())
        && is_image_extension(path.extension().unwrap_or_default().to_ascii_lowercase())
}

/// Whether this is the extension of an image file, in lower case.
pub(crate) fn is_image_extension(extension: impl AsRef<OsStr>) -> bool {
    let extension = extension.as_ref();
    extension != ARRAY && IMAGE_EXTENSIONS.iter().any(|known| extension == *known)
}

/// Whether a file is a NumPy array by its name. Arrays count as images where there are no others.
pub(crate) fn is_array(path: &Path) -> bool {
    !is_hidden(path.file_name().unwrap_or_default())
        && path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(ARRAY))
}

pub(crate) fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}
