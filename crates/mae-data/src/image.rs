//! The image that sources hand to transforms and transforms to the loader.

use crate::DataError;

/// An upright image, 8 bits a channel, rows interleaved.
///
/// # Shapes
/// `[H, W, C]`, none of them 0, H and W below 2³².
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    height: usize,
    width: usize,
    channels: usize,
    data: Vec<u8>,
}

impl Image {
    /// Wraps bytes that already lie in `[H, W, C]` order.
    ///
    /// # Errors
    /// [`DataError::ImageShape`] unless `data` has `height * width * channels` bytes, at least one;
    /// [`DataError::Argument`] if a side is longer than resizing can count.
    pub fn new(height: usize, width: usize, channels: usize, data: Vec<u8>) -> Result<Self, DataError> {
        let expected = height.checked_mul(width).and_then(|pixels| pixels.checked_mul(channels));
        if data.is_empty() || expected != Some(data.len()) {
            let expected = expected.unwrap_or(usize::MAX);
            return Err(DataError::ImageShape { height, width, channels, expected, actual: data.len() });
        }
        check_size((height, width))?;
        Ok(Self { height, width, channels, data })
    }

    /// Rows.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Bytes of a pixel.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The bytes, `[H, W, C]`.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    pub(crate) fn data_mut(&mut self) -> &mut [u8] {
        &mut self.data
    }

    /// Gives up the bytes, `[H, W, C]`.
    #[must_use]
    pub fn into_data(self) -> Vec<u8> {
        self.data
    }
}

/// Refuses a size with a 0, or with a side that no image has.
pub(crate) fn check_size((height, width): (usize, usize)) -> Result<(), DataError> {
    let sides = 1..=u32::MAX as usize;
    if sides.contains(&height) && sides.contains(&width) {
        return Ok(());
    }
    let (value, bound) = (format!("{height}x{width}"), format!("1 to {} on each side", u32::MAX));
    Err(DataError::Argument { name: "image size", value, bound })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_bytes_that_do_not_fill_it() {
        assert!(Image::new(2, 3, 3, vec![0; 18]).is_ok());
        assert_eq!(
            Image::new(2, 3, 3, vec![0; 17]).unwrap_err().to_string(),
            "an image of 2x3 with 3 channels needs 18 bytes (and at least 1), got 17"
        );
        assert!(Image::new(0, 3, 3, vec![]).is_err());
        assert!(Image::new(usize::MAX, 2, 3, vec![0; 6]).is_err());
    }
}
