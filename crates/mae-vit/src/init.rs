//! Initial values, drawn on the host so that they are the same on every device.

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use mae_random::{Stream, normals, seeded};

/// The stream that initial weights are drawn from: a function of the seed alone.
#[derive(Debug)]
pub struct InitRng(Stream);

impl InitRng {
    /// Starts the stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seeded(seed))
    }

    /// Draws `n` values uniformly from ±`bound`.
    pub fn uniform(&mut self, n: usize, bound: f64) -> Vec<f32> {
        (0..n).map(|_| ((2.0 * mae_random::uniform(&mut self.0) - 1.0) * bound) as f32).collect()
    }

    /// Draws `n` values from a normal distribution with mean 0 and standard deviation `std`.
    pub fn normal(&mut self, n: usize, std: f64) -> Vec<f32> {
        (0..n).map(|_| normals(&mut self.0, std)[0] as f32).collect()
    }

    /// Draws a learnable token `[1, 1, dim]` from a normal distribution with mean 0 and standard deviation 0.02.
    ///
    /// # Source
    /// The official `initialize_weights`, for the class and the mask token.
    pub fn token(&mut self, dim: usize, device: &Device) -> Param<Tensor<3>> {
        Param::from_data(TensorData::new(self.normal(dim, 0.02), [1, 1, dim]), device)
    }
}
