//! Files of images as upright pixels.

mod canvas;
mod encoded;
mod exif;
mod header;
pub(crate) mod jpeg;
pub(crate) mod limits;
mod npy;
pub(crate) mod open;
pub(crate) mod ppm;
mod stored;
mod tiff;

pub use encoded::{Encoded, decode_file};
pub(crate) use encoded::{Part, decode_with_format};
pub use limits::DecodeLimits;
pub use stored::stored_format;
