//! Normalises pixels of images on the device, and undoes it.

use std::fmt;

use burn::tensor::{DType, Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::{VitError, ops};

/// The pixel type, and the mean and standard deviation of each channel: for bytes, of values scaled to [0, 1]; for
/// other types, of the unscaled values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalize {
    mean: Vec<f32>,
    std: Vec<f32>,
    #[serde(default = "bytes", skip_serializing_if = "is_bytes", with = "dtype_text")]
    dtype: DType,
}

fn bytes() -> DType {
    DType::U8
}

fn is_bytes(dtype: &DType) -> bool {
    *dtype == DType::U8
}

/// The pixel types, and their names in files.
const DTYPES: [(DType, &str); 3] = [(DType::U8, "u8"), (DType::U16, "u16"), (DType::F32, "f32")];

mod dtype_text {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use super::{DTYPES, DType};

    pub(super) fn serialize<S: Serializer>(dtype: &DType, serializer: S) -> Result<S::Ok, S::Error> {
        let (_, name) = DTYPES.iter().find(|(known, _)| known == dtype).expect("checked when it was made");
        serializer.serialize_str(name)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DType, D::Error> {
        let text = String::deserialize(deserializer)?;
        let found = DTYPES.iter().find(|(_, name)| *name == text);
        found.map(|(dtype, _)| *dtype).ok_or_else(|| {
            D::Error::custom(format_args!("the pixel type is {text}, but must be u8, u16 or f32"))
        })
    }
}

impl fmt::Display for Normalize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mean {:?} and deviation {:?}", self.mean, self.std)?;
        match DTYPES.iter().find(|(dtype, _)| *dtype == self.dtype) {
            Some((_, name)) if !is_bytes(&self.dtype) => write!(f, " of {name} numbers"),
            _ => Ok(()),
        }
    }
}

impl Normalize {
    /// Constants for byte pixels of `mean.len()` channels.
    ///
    /// # Errors
    /// As [`validate`](Self::validate), and if the lengths differ.
    pub fn new(mean: Vec<f32>, std: Vec<f32>) -> Result<Self, VitError> {
        Self::of(DType::U8, mean, std)
    }

    /// Constants for pixels of type `U8`, `U16` or `F32`.
    ///
    /// # Errors
    /// As [`new`](Self::new), and for another type.
    pub fn of(dtype: DType, mean: Vec<f32>, std: Vec<f32>) -> Result<Self, VitError> {
        if !DTYPES.iter().any(|(known, _)| *known == dtype) {
            return Err(VitError::PixelType { dtype: format!("{dtype:?}") });
        }
        let normalize = Self { mean, std, dtype };
        normalize.validate(normalize.mean.len())?;
        Ok(normalize)
    }

    /// ImageNet's constants in RGB order, as in torchvision and timm.
    pub fn imagenet() -> Self {
        Self { mean: vec![0.485, 0.456, 0.406], std: vec![0.229, 0.224, 0.225], dtype: DType::U8 }
    }

    /// Mean and standard deviation 0.5, which map bytes to [−1, 1], for any number of channels.
    pub fn half(channels: usize) -> Self {
        Self { mean: vec![0.5; channels], std: vec![0.5; channels], dtype: DType::U8 }
    }

    /// The type of the pixels: `U8`, `U16` or `F32`.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The mean of each channel; for bytes, white is 1.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// The standard deviation of each channel.
    pub fn std(&self) -> &[f32] {
        &self.std
    }

    /// Checks the constants against a number of channels.
    ///
    /// # Errors
    /// If there is not one finite mean and one finite, positive standard deviation for each channel. For bytes, also if
    /// either is above 1 or a mean is below 0.
    pub fn validate(&self, channels: usize) -> Result<(), VitError> {
        if self.mean.len() != channels || self.std.len() != channels {
            return Err(VitError::Channels { mean: self.mean.len(), std: self.std.len(), channels });
        }
        if !is_bytes(&self.dtype) {
            let refused = |name, value: f32, bound: &str| VitError::OutOfRange {
                name,
                value: value.into(),
                bound: bound.into(),
            };
            if let Some(mean) = self.mean.iter().find(|mean| !mean.is_finite()) {
                return Err(refused("mean", *mean, "finite"));
            }
            return match self.std.iter().find(|std| !(**std > 0.0 && std.is_finite())) {
                Some(std) => Err(refused("std", *std, "positive and finite")),
                None => Ok(()),
            };
        }
        let refused = |name, value: f32, bound: &str| {
            // Other libraries count white as 255.
            let bound = match value > 1.0 && value <= 255.0 {
                true => format!("{bound}, since white is 1: divide by 255, which makes it {}", value / 255.0),
                false => bound.into(),
            };
            // Through its decimal text, so that the f64 prints no more digits than the f32.
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

    /// Moves pixels to the device and normalises them there. Pixels that are not finite become 0, the mean.
    ///
    /// # Shapes
    /// `B·C·H·W` pixels of [`dtype`](Self::dtype) as bytes in native order, `[B, C, H, W]` → `[B, C, H, W]`
    ///
    /// # Panics
    /// If the number of bytes does not match the shape.
    pub fn images(&self, bytes: Vec<u8>, shape: [usize; 4], device: &Device) -> Tensor<4> {
        if is_bytes(&self.dtype) {
            let (scale, shift) = self.affine(device);
            return ops::upload_floats::<4>(TensorData::new(bytes, shape), device) * scale + shift;
        }
        let mut numbers = self.pixels(&bytes);
        let [_, channels, height, width] = shape;
        for (plane, numbers) in numbers.chunks_mut(height * width).enumerate() {
            let mean = self.mean[plane % channels];
            numbers.iter_mut().filter(|number| !number.is_finite()).for_each(|number| *number = mean);
        }
        // Subtract first: the difference is exact where the mean is large relative to the standard deviation.
        let [mean, std] = [&self.mean, &self.std].map(|values| by_channel(values.clone(), device));
        (ops::upload_floats::<4>(TensorData::new(numbers, shape), device) - mean) / std
    }

    /// Returns 1 for finite pixels and 0 for the others, or `None` if all are finite.
    ///
    /// # Shapes
    /// As [`images`](Self::images).
    ///
    /// # Panics
    /// As [`images`](Self::images).
    pub fn present(&self, bytes: &[u8], shape: [usize; 4], device: &Device) -> Option<Tensor<4>> {
        let numbers = Some(bytes).filter(|_| self.dtype == DType::F32).map(|bytes| self.pixels(bytes))?;
        let present: Vec<u8> = numbers.iter().map(|number| u8::from(number.is_finite())).collect();
        let all = present.iter().all(|present| *present == 1);
        (!all).then(|| ops::upload_floats(TensorData::new(present, shape), device))
    }

    /// Reads pixels exactly from bytes in native order.
    pub fn pixels(&self, bytes: &[u8]) -> Vec<f32> {
        match self.dtype {
            DType::U8 => bytes.iter().map(|byte| f32::from(*byte)).collect(),
            DType::U16 => {
                bytes.as_chunks().0.iter().map(|pair| f32::from(u16::from_ne_bytes(*pair))).collect()
            }
            _ => bytes.as_chunks().0.iter().map(|four| f32::from_ne_bytes(*four)).collect(),
        }
    }

    /// The normalised value of a pixel of one channel; 0 if it is not finite.
    pub fn value(&self, pixel: f32, channel: usize) -> f32 {
        let white = if is_bytes(&self.dtype) { 255.0 } else { 1.0 };
        let value = (pixel / white - self.mean[channel]) / self.std[channel];
        if value.is_finite() { value } else { 0.0 }
    }

    /// Undoes the normalisation.
    ///
    /// # Shapes
    /// `[B, C, H, W]` → `B·C·H·W` pixels in the same order, not rounded
    pub fn restore(&self, images: Tensor<4>) -> Vec<f32> {
        let device = images.device();
        let pixels = if is_bytes(&self.dtype) {
            let (scale, shift) = self.affine(&device);
            (images - shift) / scale
        } else {
            let [mean, std] = [&self.mean, &self.std].map(|values| by_channel(values.clone(), &device));
            images * std + mean
        };
        pixels.into_data().convert::<f32>().try_to_vec().expect("converted to f32")
    }

    /// Scale and shift, both `[1, C, 1, 1]`: `x·scale + shift` maps bytes to normalised values.
    fn affine(&self, device: &Device) -> (Tensor<4>, Tensor<4>) {
        let scale = self.std.iter().map(|s| 1.0 / (255.0 * s)).collect();
        let shift = self.mean.iter().zip(&self.std).map(|(m, s)| -m / s).collect();
        (by_channel(scale, device), by_channel(shift, device))
    }
}

/// One value per channel, `[1, C, 1, 1]`.
fn by_channel(numbers: Vec<f32>, device: &Device) -> Tensor<4> {
    let shape = [1, numbers.len(), 1, 1];
    ops::upload_floats(TensorData::new(numbers, shape), device)
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
        let restored: Vec<u8> = normalize.restore(images).iter().map(|pixel| pixel.round() as u8).collect();
        assert_eq!(restored, bytes);
    }

    #[test]
    fn wider_pixels_are_normalised_in_their_own_units() {
        let device = Device::flex();
        let numbers = [0_u16, 1, 255, 256, 4095, 65535, 31, 32];
        let deep = Normalize::of(DType::U16, vec![1000.0, 40.0], vec![500.0, 8.0]).unwrap();
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_ne_bytes()).collect();
        let images = deep.images(bytes.clone(), [1, 2, 2, 2], &device);
        let found: Vec<f32> = images.clone().into_data().try_to_vec().unwrap();
        for (at, (found, number)) in found.iter().zip(numbers).enumerate() {
            let expected = (f32::from(number) - deep.mean[at / 4]) / deep.std[at / 4];
            assert!((found - expected).abs() <= 1e-6 * expected.abs().max(1.0), "{found} for {number}");
            assert!((deep.value(f32::from(number), at / 4) - expected).abs() <= 1e-6 * expected.abs());
        }
        let restored = deep.restore(images);
        assert!(restored.iter().zip(numbers).all(|(r, n)| (r - f32::from(n)).abs() < 0.02), "{restored:?}");
        assert!(deep.present(&bytes, [1, 2, 2, 2], &device).is_none());
    }

    #[test]
    fn pixels_that_are_no_numbers_become_the_mean_and_are_told() {
        let device = Device::flex();
        let heights = Normalize::of(DType::F32, vec![-50.0], vec![2.0]).unwrap();
        let numbers = [-48.0, f32::NAN, f32::INFINITY, -54.0];
        let bytes: Vec<u8> = numbers.iter().flat_map(|number: &f32| number.to_ne_bytes()).collect();
        let images: Vec<f32> =
            heights.images(bytes.clone(), [1, 1, 2, 2], &device).into_data().try_to_vec().unwrap();
        assert_eq!(images, [1.0, 0.0, 0.0, -2.0]);
        assert_eq!(numbers.map(|number| heights.value(number, 0)), [1.0, 0.0, 0.0, -2.0]);
        let present = heights.present(&bytes, [1, 1, 2, 2], &device).unwrap();
        assert_eq!(present.into_data().try_to_vec::<f32>().unwrap(), [1.0, 0.0, 0.0, 1.0]);
    }

    #[test]
    fn the_type_of_pixels_is_kept_where_it_is_not_bytes() {
        let text = |normalize: &Normalize| serde_json::to_string(normalize).unwrap();
        assert_eq!(text(&Normalize::half(1)), r#"{"mean":[0.5],"std":[0.5]}"#);
        let deep = Normalize::of(DType::U16, vec![300.0], vec![20.0]).unwrap();
        assert_eq!(text(&deep), r#"{"mean":[300.0],"std":[20.0],"dtype":"u16"}"#);
        for normalize in [&Normalize::half(1), &deep] {
            assert_eq!(&serde_json::from_str::<Normalize>(&text(normalize)).unwrap(), normalize);
        }
        let wrong = serde_json::from_str::<Normalize>(r#"{"mean":[0.5],"std":[0.5],"dtype":"i8"}"#);
        assert!(wrong.unwrap_err().to_string().starts_with("the pixel type is i8, but must be u8, u16"));
        assert!(Normalize::of(DType::I32, vec![0.0], vec![1.0]).is_err());
        assert!(Normalize::of(DType::F32, vec![f32::NAN], vec![1.0]).is_err());
        assert!(Normalize::of(DType::F32, vec![-3.0], vec![0.0]).is_err());
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
        // No suggestion where dividing by 255 would not help.
        assert_eq!(refused(-1.0, 0.5), "mean is -1, but must be from 0 to 1");
        assert!(refused(f32::NAN, 0.5).contains("NaN") && refused(32768.0, 0.5).ends_with("from 0 to 1"));
    }
}
