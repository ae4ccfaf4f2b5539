//! Pixel formats as text.

use std::str::FromStr;

use crate::{ImageError, PixelFormat, PixelType};

impl FromStr for PixelFormat {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        if text == "rgb8" {
            return Ok(Self::Rgb8);
        }
        let stored = || {
            let (name, channels) = text.split_once('x')?;
            let types = [PixelType::U8, PixelType::U16, PixelType::F32];
            let pixel_type = types.into_iter().find(|known| known.to_string() == name)?;
            let channels = channels.parse().ok().filter(|channels| (1..=MOST_CHANNELS).contains(channels))?;
            Some(Self::Stored { pixel_type, channels })
        };
        stored().ok_or_else(|| ImageError::Argument {
            name: "the pixel format",
            value: text.to_owned(),
            bound: format!("rgb8, or u8, u16 or f32 with 1 to {MOST_CHANNELS} channels, such as u16x4"),
        })
    }
}

/// More channels than any sensor has bands: a larger number is a mistaken axis.
pub(crate) const MOST_CHANNELS: usize = 1024;

impl TryFrom<String> for PixelFormat {
    type Error = ImageError;

    fn try_from(text: String) -> Result<Self, ImageError> {
        text.parse()
    }
}

impl From<PixelFormat> for String {
    fn from(format: PixelFormat) -> Self {
        format.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_text_and_back() {
        for text in ["rgb8", "u8x1", "u16x4", "f32x13"] {
            assert_eq!(text.parse::<PixelFormat>().unwrap().to_string(), text);
        }
        for wrong in ["", "rgb", "u16", "u16x0", "i16x1", "u8x99999", "x3", "u16x4x1"] {
            let message = wrong.parse::<PixelFormat>().unwrap_err().to_string();
            assert!(
                message.starts_with(&format!("the pixel format is {wrong}, but must be rgb8")),
                "{message}"
            );
        }
    }
}
