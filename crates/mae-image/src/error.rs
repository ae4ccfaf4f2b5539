//! Why an image or an image file is refused.

use std::path::PathBuf;

use crate::{PixelFormat, path_name};

/// Why an image or an image file was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// An argument has a value that is not allowed.
    #[error("{name} is {value}, but must be {bound}")]
    Argument {
        /// The argument's name.
        name: &'static str,
        /// Its value.
        value: String,
        /// The values that are allowed.
        bound: String,
    },

    /// Pixels whose number does not match the given size of the image.
    #[error(
        "an image of {height}x{width} with {channels} channels needs {expected} numbers (and at least 1), got {actual}"
    )]
    ImageShape {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// The number of channels.
        channels: usize,
        /// `height * width * channels`, `usize::MAX` where that overflows.
        expected: usize,
        /// The number of values given.
        actual: usize,
    },

    /// An image file that could not be read.
    #[error("cannot read the image {}", path_name(path))]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },

    /// An image file of 0 bytes.
    #[error("the image {} is empty: 0 bytes", path_name(path))]
    EmptyFile {
        /// The file.
        path: PathBuf,
    },

    /// A file whose first bytes match no supported image format.
    #[error("{} is not an image: its first bytes match none of {known}", path_name(path))]
    NotAnImage {
        /// The file.
        path: PathBuf,
        /// The supported formats.
        known: String,
    },

    /// An image file that is truncated, damaged or of a kind that its decoder does not support.
    #[error("cannot decode the image {} ({bytes} bytes)", path_name(path))]
    Decode {
        /// The file.
        path: PathBuf,
        /// The file's length.
        bytes: u64,
        /// The decoder's error.
        #[source]
        source: ::image::ImageError,
    },

    /// A valid image file of an unsupported kind.
    #[error("the image {} is {kind}, which is not supported: {advice}", path_name(path))]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The kind.
        kind: String,
        /// What to do about it.
        advice: &'static str,
    },

    /// An image file with another pixel type or number of channels than expected.
    #[error(
        "the image {} is {found}, but must be {expected} (type of its numbers x channels)",
        path_name(path)
    )]
    PixelFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: PixelFormat,
        /// The expected format.
        expected: PixelFormat,
    },

    /// A JPEG or Netpbm file that ends before its image does.
    #[error(
        "the image {} is truncated: its {bytes} bytes do not contain the end of the image",
        path_name(path)
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// The file's length.
        bytes: u64,
    },

    /// An image file that is longer than the limit.
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
        /// The bytes that its pixels take.
        bytes: u64,
        /// The limit.
        max_bytes: u64,
    },
}
