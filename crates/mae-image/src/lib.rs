//! Image files as pixels: JPEG, PNG, TIFF, NumPy and others, of any depth and number of channels, whole or in part.
//!
//! [`decode_file`] reads an image file as upright 8-bit RGB, as Pillow does. [`Encoded`] reads it in a [`PixelFormat`]
//! of your choice: [`PixelFormat::Rgb8`], or the values as stored, in the format that [`stored_format`] detects. It
//! decodes the whole image or only the part around a [`Crop`]. [`DecodeLimits`] bound the size of an image. A file that
//! is truncated, damaged or of an unknown format is refused with an [`ImageError`] that names it.
//!
//! ```
//! use mae_image::{Crop, DecodeLimits, Encoded, PixelFormat, decode_file, stored_format};
//!
//! # fn main() -> Result<(), mae_image::ImageError> {
//! # let folder = tempfile::tempdir().expect("a temporary folder");
//! # let path = folder.path().join("photo.png");
//! # image::RgbImage::new(60, 40).save(&path).expect("a written image");
//! let limits = DecodeLimits::default();
//! let image = decode_file(&path, &limits)?;
//! assert_eq!((image.height(), image.width(), image.channels()), (40, 60, 3));
//!
//! let format = stored_format(&path, &limits)?;
//! assert_eq!(format, PixelFormat::Rgb8);
//! let encoded = Encoded::read(&path, format, &limits)?;
//! assert_eq!(encoded.size(), (40, 60));
//! let part = encoded.decode_part(Crop { top: 8, left: 20, height: 4, width: 4 }, Vec::new())?;
//! assert!(part.top <= 8 && part.top + part.pixels.height() >= 12);
//! # Ok(())
//! # }
//! ```

mod crop;
mod encoded;
mod error;
mod exif;
mod image;
mod jpeg;
mod labels;
mod limits;
mod name;
mod open;
mod pixel;
pub mod ppm;
mod source;
mod stored;
mod tiff;

pub use crop::Crop;
pub use encoded::{Encoded, Part, decode_file};
pub use error::ImageError;
pub use image::{AnyImage, Image, Pixel, check_size};
pub use labels::decode_labels;
pub use limits::DecodeLimits;
pub use name::{byte_name, path_name};
pub use pixel::{PixelFormat, PixelType};
pub use stored::{format_of, stored_format};
pub use tiff::{GeoValue, Georeference};

/// The README's examples, as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
