//! Which files are images, by their names.

use std::ffi::OsStr;
use std::path::Path;

/// What a file must be called to be taken for an image, in any case.
pub const IMAGE_EXTENSIONS: [&str; 16] = [
    "jpg", "jpeg", "jpe", "jfif", "jif", "png", "apng", "webp", "gif", "bmp", "tif", "tiff", "ppm", "pgm",
    "pbm", "pnm",
];

pub(crate) fn is_image(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default();
    !is_hidden(path.file_name().unwrap_or_default())
        && IMAGE_EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known))
}

pub(crate) fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}
