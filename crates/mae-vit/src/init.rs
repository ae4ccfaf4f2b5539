//! Initial values, drawn on the host so that they are the same on every device.

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// The stream that initial weights are drawn from: a function of the seed alone.
#[derive(Debug)]
pub struct InitRng(ChaCha8Rng);

impl InitRng {
    /// Starts the stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// `n` numbers uniform in ±`bound`.
    pub fn uniform(&mut self, n: usize, bound: f64) -> Vec<f32> {
        (0..n).map(|_| ((2.0 * self.unit() - 1.0) * bound) as f32).collect()
    }

    /// `n` normal numbers of mean 0 (Box–Muller).
    pub fn normal(&mut self, n: usize, std: f64) -> Vec<f32> {
        (0..n)
            .map(|_| {
                let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
                (std * radius * (std::f64::consts::TAU * self.unit()).cos()) as f32
            })
            .collect()
    }

    /// Uniform in [0, 1) with 53 bits.
    fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A learnt token, normal with standard deviation 0.02, `[1, 1, dim]`.
    ///
    /// # Source
    /// The official `initialize_weights`, for the class and the mask token.
    pub fn token(&mut self, dim: usize, device: &Device) -> Param<Tensor<3>> {
        Param::from_data(TensorData::new(self.normal(dim, 0.02), [1, 1, dim]), device)
    }
}
