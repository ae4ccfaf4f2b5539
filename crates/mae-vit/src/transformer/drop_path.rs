//! Stochastic depth: in training, residual branches are left out of some of the samples.

use burn::tensor::{Device, Tensor, TensorData};

/// What each residual branch of a stack counts for each sample of a batch: nothing, or so much more that its mean is
/// what it was.
///
/// # Source
/// Stochastic depth, arXiv 1603.09382; timm `DropPath`, drawn for attention and MLP by themselves, at rates that grow
/// linearly over the blocks from 0 to that of the last one.
#[derive(Clone, Debug, PartialEq)]
pub struct DropPath {
    /// By block and branch, B numbers.
    scales: Vec<[Vec<f32>; 2]>,
}

impl DropPath {
    /// Draws for `depth` blocks and `batch` samples; `rate`, in [0, 1), is the last block's, and `uniform` gives numbers
    /// uniform in [0, 1).
    pub fn draw(rate: f64, depth: usize, batch: usize, mut uniform: impl FnMut() -> f64) -> Self {
        let scales = (0..depth).map(|block| {
            let rate = if depth > 1 { rate * block as f64 / (depth - 1) as f64 } else { 0.0 };
            let mut scale = || if uniform() < rate { 0.0 } else { (1.0 / (1.0 - rate)) as f32 };
            [(); 2].map(|()| (0..batch).map(|_| scale()).collect())
        });
        Self { scales: scales.collect() }
    }

    /// What the branches of a block count.
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
        // Equidistributed, so that frequencies come out as exactly as a draw allows.
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
        // A stack of one block has no room to grow: nothing is dropped, as in timm.
        let one = DropPath::draw(0.9, 1, 3, || 0.0);
        assert_eq!(one.scales, [[vec![1.0; 3], vec![1.0; 3]]]);
    }
}
