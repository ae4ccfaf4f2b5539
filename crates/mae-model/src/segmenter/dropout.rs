//! Dropout of channels before the scores, in training.

use burn::tensor::{Device, Tensor, TensorData};

use super::UperNetConfig;

/// What each channel in front of the scores counts for each image of a batch: nothing, or so much more that its mean is what it was.
///
/// # Source
/// Dropout of whole channels, arXiv 1411.4280; PyTorch's `Dropout2d` in mmsegmentation's `BaseDecodeHead`.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadDropout {
    /// Of the fused map and of the auxiliary head's, which may be empty: B·C numbers.
    scales: [Vec<f32>; 2],
}

impl HeadDropout {
    /// Draws for `batch` images; `uniform` gives numbers uniform in [0, 1).
    pub fn draw(config: &UperNetConfig, batch: usize, mut uniform: impl FnMut() -> f64) -> Self {
        let auxiliary = config.auxiliary.as_ref().map_or(0, |auxiliary| auxiliary.channels);
        let kept = (1.0 / (1.0 - config.dropout)) as f32;
        let mut scale = || if uniform() < config.dropout { 0.0 } else { kept };
        Self {
            scales: [config.channels, auxiliary]
                .map(|channels| (0..batch * channels).map(|_| scale()).collect()),
        }
    }

    /// # Shapes
    /// `[B, H, W, C]` → `[B, H, W, C]`
    pub(super) fn fused(&self, x: Tensor<4>) -> Tensor<4> {
        scaled(x, &self.scales[0])
    }

    /// # Shapes
    /// `[B, H, W, C]` → `[B, H, W, C]`
    pub(super) fn auxiliary(&self, x: Tensor<4>) -> Tensor<4> {
        scaled(x, &self.scales[1])
    }
}

fn scaled(x: Tensor<4>, scales: &[f32]) -> Tensor<4> {
    let [batch, _, _, channels] = x.dims();
    let device: Device = x.device();
    x * Tensor::<4>::from_data(TensorData::new(scales.to_vec(), [batch, 1, 1, channels]), &device)
}
