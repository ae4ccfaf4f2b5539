//! Why an image or an image file is refused.

use std::path::PathBuf;

use crate::{PixelFormat, path_name};

/// Why an image or an image file was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// An argument lies outside what it may be.
    #[error("{name} is {value}, but must be {bound}")]
    Argument {
        /// The argument's name.
        name: &'static str,
        /// What it was.
        value: String,
        /// What it may be.
        bound: String,
    },

    /// Pixels that do not fill the image they are said to be.
    #[error(
        "an image of {height}x{width} with {channels} channels needs {expected} numbers (and at least 1), got {actual}"
    )]
    ImageShape {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// Channels of a pixel.
        channels: usize,
        /// `height * width * channels`, `usize::MAX` where that overflows.
        expected: usize,
        /// Numbers that were given.
        actual: usize,
    },

    /// An image file that could not be read.
    #[error("cannot read the image {}", path_name(path))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },

    /// An image file without a byte in it.
    #[error("the image {} is empty: 0 bytes", path_name(path))]
    EmptyFile {
        /// The file.
        path: PathBuf,
    },

    /// A file whose first bytes belong to no image format that is read here.
    #[error("{} is not an image: its first bytes belong to none of {known}", path_name(path))]
    NotAnImage {
        /// The file.
        path: PathBuf,
        /// The formats that are read.
        known: String,
    },

    /// An image file that is cut short, damaged or of a kind its decoder does not know.
    #[error("cannot decode the image {} ({bytes} bytes)", path_name(path))]
    Decode {
        /// The file.
        path: PathBuf,
        /// The file's length.
        bytes: u64,
        /// What the decoder said.
        #[source]
        source: ::image::ImageError,
    },

    /// An image file that is sound, but of a kind that is not read.
    #[error("the image {} is {kind}, which is not read: {advice}", path_name(path))]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: String,
        /// What to do.
        advice: &'static str,
    },

    /// An image file whose numbers are of another type, or of another number of channels.
    #[error(
        "the image {} is {found}, but must be {expected} (type of its numbers x channels)",
        path_name(path)
    )]
    PixelFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: PixelFormat,
        /// The format of the data set.
        expected: PixelFormat,
    },

    /// A JPEG file that ends before its image does.
    #[error("the image {} is cut short: its {bytes} bytes hold no end of the image", path_name(path))]
    Truncated {
        /// The file.
        path: PathBuf,
        /// The file's length.
        bytes: u64,
    },

    /// An image file that is larger than an image may be.
    #[error("the file {} has {bytes} bytes: more than the limit of {max_bytes} bytes", path_name(path))]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
        /// The limit.
        max_bytes: u64,
    },

    /// An image file whose image has no pixels.
    #[error("the image {} is {height}x{width}: it has no pixels", path_name(path))]
    NoPixels {
        /// The file.
        path: PathBuf,
        /// Rows.
        height: u32,
        /// Columns.
        width: u32,
    },

    /// An image with more pixels than allowed: perhaps a decompression bomb.
    #[error(
        "the image {} is {height}x{width}, {pixels} pixels: more than the limit of {max_pixels} pixels",
        path_name(path)
    )]
    TooManyPixels {
        /// The file.
        path: PathBuf,
        /// Rows.
        height: u32,
        /// Columns.
        width: u32,
        /// `height * width`.
        pixels: u64,
        /// The limit.
        max_pixels: u64,
    },

    /// An image that takes more memory to decode than allowed: perhaps a decompression bomb.
    #[error(
        "the image {} is {height}x{width} and takes {bytes} bytes decoded: more than the limit of {max_bytes} bytes",
        path_name(path)
    )]
    TooManyBytes {
        /// The file.
        path: PathBuf,
        /// Rows.
        height: u32,
        /// Columns.
        width: u32,
        /// What its pixels take.
        bytes: u64,
        /// The limit.
        max_bytes: u64,
    },
}
