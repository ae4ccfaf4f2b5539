//! Image files of any depth and any number of channels, read without a change to a number.

mod canvas;
pub mod npy;
pub mod tiff;

/// The numbers of an image as they are stored, `[H, W, C]`.
#[derive(Clone, Debug, PartialEq)]
pub enum Numbers {
    /// From unsigned numbers of 8 bits.
    U8(Vec<u8>),
    /// From unsigned numbers of 16 bits.
    U16(Vec<u16>),
    /// From all other kinds of numbers, and where some pixels hold no data.
    F32(Vec<f32>),
}

/// The type of the numbers that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PixelType {
    /// [`Numbers::U8`].
    U8,
    /// [`Numbers::U16`].
    U16,
    /// [`Numbers::F32`].
    F32,
}

/// An image as its file stores it: a TIFF orientation is not applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Numbers a pixel.
    pub channels: usize,
    /// Whether the last channel is alpha.
    pub alpha: bool,
    /// The numbers, `[H, W, C]`.
    pub numbers: Numbers,
}

/// What a file tells of its image before pixels are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Numbers a pixel.
    pub channels: usize,
    /// Whether the last channel is alpha.
    pub alpha: bool,
    /// The type of the numbers that are read.
    pub kind: PixelType,
}

/// Why an image is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The file is cut short or contradicts itself.
    Damaged(String),
    /// A kind that is not read; what it is.
    Unsupported(String),
    /// The decoded pixels would take more than allowed.
    TooLarge {
        /// Rows.
        height: u64,
        /// Columns.
        width: u64,
        /// What the pixels would take.
        bytes: u64,
    },
}
