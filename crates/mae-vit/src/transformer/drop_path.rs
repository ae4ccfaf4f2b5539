//! Stochastic depth: in training, residual branches are dropped for some of the samples.

use burn::tensor::{Device, Tensor, TensorData};

/// The scale of each residual branch of a stack for each sample of a batch: 0, or 1 / (1 − rate), so that its mean
/// is 1.
///
/// # Source
/// Stochastic depth, arXiv 1603.09382; timm `DropPath`, drawn independently for attention and MLP, at rates that grow
/// linearly over the blocks from 0 to that of the last one.
#[derive(Clone, Debug, PartialEq)]
pub struct DropPath {
    /// By block and branch, one scale per sample.
    scales: Vec<[Vec<f32>; 2]>,
}

impl DropPath {
    /// Draws scales for `depth` blocks and `batch` samples. `rate`, in [0, 1), is the last block's; `uniform` returns
    /// values uniform in [0, 1).
    pub fn draw(rate: f64, depth: usize, batch: usize, mut uniform: impl FnMut() -> f64) -> Self {
        let scales = (0..depth).map(|block| {
            let rate = if depth > 1 { rate * block as f64 / (depth - 1) as f64 } else { 0.0 };
            let mut scale = || if uniform() < rate { 0.0 } else { (1.0 / (1.0 - rate)) as f32 };
            [(); 2].map(|()| (0..batch).map(|_| scale()).collect())
        });
        Self { scales: scales.collect() }
    }

    /// The scales of a block's two branches.
    ///
    /// # Shapes
    /// `[B, 1, 1]` each
    pub(crate) fn of_block(&self, block: usize, device: &Device) -> [Tensor<3>; 2] {
        self.scales[block].clone().map(|scales| {
            let batch = scales.len();
            Tensor::from_data(TensorData::new(scales, [batch, 1, 1]), device)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_grow_over_the_blocks_and_the_mean_stays() {
        const BATCH: usize = 20_000;
        // An equidistributed sequence, whose frequencies match the rates more closely than random draws would.
        let mut at = 0.0_f64;
        let golden = || {
            at = (at + 0.618_033_988_749_895).fract();
            at
        };
        let drop = DropPath::draw(0.3, 4, BATCH, golden);
        for (block, branches) in drop.scales.iter().enumerate() {
            let rate = 0.1 * block as f64;
            for scales in branches {
                let dropped = scales.iter().filter(|scale| **scale == 0.0).count() as f64 / BATCH as f64;
                assert!((dropped - rate).abs() < 1e-3, "block {block}: {dropped}");
                let mean = scales.iter().map(|scale| f64::from(*scale)).sum::<f64>() / BATCH as f64;
                assert!((mean - 1.0).abs() < 2e-3, "block {block}: {mean}");
            }
        }
        // In a stack of one block, the rate cannot grow: nothing is dropped, as in timm.
        let one = DropPath::draw(0.9, 1, 3, || 0.0);
        assert_eq!(one.scales, [[vec![1.0; 3], vec![1.0; 3]]]);
    }
}
