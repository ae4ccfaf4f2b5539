//! Files of images as upright pixels.

mod encoded;
mod exif;
pub(crate) mod jpeg;
pub(crate) mod limits;
pub(crate) mod open;
pub(crate) mod ppm;
mod stored;

pub use encoded::{Encoded, decode_file};
pub(crate) use encoded::{Part, decode_with_format};
pub use limits::DecodeLimits;
pub(crate) use stored::format_of;
pub use stored::stored_format;
