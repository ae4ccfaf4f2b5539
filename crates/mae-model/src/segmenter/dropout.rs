//! Dropout of channels before the classifier, in training.

use burn::tensor::{Device, Tensor, TensorData};

use super::UperNetConfig;

/// Scales of the channels before the classifier, for each image of a batch: 0 for a dropped channel,
/// `1 / (1 - dropout)` for a kept one, so that the expected value stays the same.
///
/// # Source
/// Dropout of whole channels, arXiv 1411.4280; PyTorch's `Dropout2d` in mmsegmentation's `BaseDecodeHead`.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadDropout {
    /// B·C scales each, for the fused map and for the auxiliary head's map. The latter are empty without that head.
    scales: [Vec<f32>; 2],
}

impl HeadDropout {
    /// Draws scales for `batch` images; `uniform` returns values uniform in [0, 1).
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
