//! Bytes of images to normalised numbers on the device, and back.

use std::fmt;

use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::{VitError, ops};

/// Per-channel mean and standard deviation of pixels scaled to [0, 1].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalize {
    mean: Vec<f32>,
    std: Vec<f32>,
}

impl fmt::Display for Normalize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mean {:?} and deviation {:?}", self.mean, self.std)
    }
}

impl Normalize {
    /// Constants for `mean.len()` channels.
    ///
    /// # Errors
    /// As [`validate`](Self::validate); if the lengths differ.
    pub fn new(mean: Vec<f32>, std: Vec<f32>) -> Result<Self, VitError> {
        let normalize = Self { mean, std };
        normalize.validate(normalize.mean.len())?;
        Ok(normalize)
    }

    /// ImageNet's, in RGB order, as torchvision and timm have them.
    pub fn imagenet() -> Self {
        Self { mean: vec![0.485, 0.456, 0.406], std: vec![0.229, 0.224, 0.225] }
    }

    /// Mean and deviation 0.5: the range [−1, 1] for any number of channels.
    pub fn half(channels: usize) -> Self {
        Self { mean: vec![0.5; channels], std: vec![0.5; channels] }
    }

    /// The channels' means, where white is 1.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// The channels' deviations.
    pub fn std(&self) -> &[f32] {
        &self.std
    }

    /// Checks the constants against a number of channels.
    ///
    /// # Errors
    /// If there is not one mean from 0 to 1 and one deviation above 0 and up to 1 for each channel.
    pub fn validate(&self, channels: usize) -> Result<(), VitError> {
        if self.mean.len() != channels || self.std.len() != channels {
            return Err(VitError::Channels { mean: self.mean.len(), std: self.std.len(), channels });
        }
        let refused = |name, value: f32, bound: &str| {
            // Other libraries count white as 255.
            let bound = match value > 1.0 && value <= 255.0 {
                true => format!("{bound}, since white is 1: divide by 255, which makes it {}", value / 255.0),
                false => bound.into(),
            };
            // By its decimals: those of f32 alone.
            VitError::OutOfRange { name, value: value.to_string().parse().unwrap_or(f64::NAN), bound }
        };
        if let Some(mean) = self.mean.iter().find(|mean| !(0.0..=1.0).contains(*mean)) {
            return Err(refused("mean", *mean, "from 0 to 1"));
        }
        match self.std.iter().find(|std| !(**std > 0.0 && **std <= 1.0)) {
            Some(std) => Err(refused("std", *std, "above 0 and at most 1")),
            None => Ok(()),
        }
    }

    /// Moves bytes to the device and normalises them there.
    ///
    /// # Shapes
    /// `B·C·H·W` bytes, `[B, C, H, W]` → `[B, C, H, W]`
    pub fn images(&self, bytes: Vec<u8>, shape: [usize; 4], device: &Device) -> Tensor<4> {
        let pixels = ops::upload_floats::<4>(TensorData::new(bytes, shape), device);
        let (scale, shift) = self.affine(device);
        pixels * scale + shift
    }

    /// The normalised value of a byte of one channel.
    pub fn value(&self, byte: u8, channel: usize) -> f32 {
        (f32::from(byte) / 255.0 - self.mean[channel]) / self.std[channel]
    }

    /// Undoes the normalisation and rounds to bytes, out-of-range values clamped.
    ///
    /// # Shapes
    /// `[B, C, H, W]` → `B·C·H·W` bytes in the same order
    pub fn bytes(&self, images: Tensor<4>) -> Vec<u8> {
        let (scale, shift) = self.affine(&images.device());
        let pixels = ((images - shift) / scale).into_data().convert::<f32>();
        let floats = pixels.as_slice::<f32>().expect("converted to f32 above");
        floats.iter().map(|v| v.round().clamp(0.0, 255.0) as u8).collect()
    }

    /// `x·scale + shift` maps bytes to normalised values, both `[1, C, 1, 1]`.
    fn affine(&self, device: &Device) -> (Tensor<4>, Tensor<4>) {
        let shape = [1, self.mean.len(), 1, 1];
        let scale = self.std.iter().map(|s| 1.0 / (255.0 * s)).collect();
        let shift = self.mean.iter().zip(&self.std).map(|(m, s)| -m / s).collect();
        (
            ops::upload_floats(TensorData::new::<f32, _>(scale, shape), device),
            ops::upload_floats(TensorData::new::<f32, _>(shift, shape), device),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_the_round_trip_and_match_the_definition() {
        let device = Device::flex();
        let bytes: Vec<u8> = (0..=255).cycle().take(2 * 3 * 8 * 16).collect();
        let normalize = Normalize::imagenet();
        let images = normalize.images(bytes.clone(), [2, 3, 8, 16], &device);
        let value = images.clone().slice([0..1, 1..2, 0..1, 5..6]).into_scalar::<f32>();
        assert!((value - ((133.0 / 255.0 - 0.456) / 0.224)).abs() < 1e-5, "{value}");
        assert_eq!(normalize.bytes(images), bytes);
    }

    #[test]
    fn constants_for_other_channels_are_refused() {
        assert!(Normalize::imagenet().validate(4).unwrap_err().to_string().contains("4 channels"));
        assert!(Normalize::new(vec![0.5], vec![0.0]).is_err());
    }

    #[test]
    fn constants_for_pixels_up_to_255_are_refused_with_those_up_to_1() {
        let refused = |mean, std| Normalize::new(vec![mean; 3], vec![std; 3]).unwrap_err().to_string();
        let error = refused(123.675, 58.395);
        assert!(error.contains("mean is 123.675") && error.contains("from 0 to 1"), "{error}");
        assert!(error.ends_with("divide by 255, which makes it 0.485"), "{error}");
        assert!(refused(0.485, 58.395).ends_with("which makes it 0.229"));
        // No guess where there is none to make.
        assert_eq!(refused(-1.0, 0.5), "mean is -1, but must be from 0 to 1");
        assert!(refused(f32::NAN, 0.5).contains("NaN") && refused(32768.0, 0.5).ends_with("from 0 to 1"));
    }
}
