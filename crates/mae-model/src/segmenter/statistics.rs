//! Batch-norm statistics of a training batch.

use burn::module::ParamId;
use burn::tensor::{Tensor, TensorData};
use mae_vit::dense::{BatchMoments, BatchNorm};

/// Means and unbiased variances of a batch, for all batch norms of a segmenter in the order of its forward pass.
#[derive(Clone, Debug, Default)]
pub struct BatchStatistics {
    /// Each with the id of the running parameter that it updates.
    running: Vec<(ParamId, Tensor<1>)>,
}

impl BatchStatistics {
    pub(super) fn push(&mut self, norm: &BatchNorm, BatchMoments { mean, var }: BatchMoments) {
        self.running.extend([(norm.running_mean.id, mean), (norm.running_var.id, var)]);
    }

    /// The batch's mean or variance for a running parameter.
    pub(super) fn of(&self, running: ParamId) -> Option<Tensor<1>> {
        self.running.iter().find(|(id, _)| *id == running).map(|(_, batch)| batch.clone())
    }

    /// All values, on the host. Waits for the device.
    pub fn to_flat(&self) -> Vec<f32> {
        let all = Tensor::cat(self.running.iter().map(|(_, batch)| batch.clone()).collect(), 0);
        all.into_data().convert::<f32>().iter().collect()
    }

    /// The same norms with other values, in the order of [`to_flat`](Self::to_flat).
    ///
    /// # Panics
    /// If the number of values differs.
    #[must_use]
    pub fn with_flat(&self, flat: &[f32]) -> Self {
        let mut rest = flat;
        let running = self.running.iter().map(|(id, old)| {
            let (values, after) = rest.split_at(old.dims()[0]);
            rest = after;
            (*id, Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), &old.device()))
        });
        let running = running.collect();
        assert!(rest.is_empty(), "{} numbers are left over", rest.len());
        Self { running }
    }

    /// The mean over several batches of one segmenter, of their means and of their variances. `None` if there are no
    /// batches.
    pub fn mean(batches: Vec<Self>) -> Option<Self> {
        let share = 1.0 / batches.len() as f64;
        let sum = batches.into_iter().reduce(|sum, batch| {
            let pairs = sum.running.into_iter().zip(batch.running);
            Self { running: pairs.map(|((id, sum), (_, batch))| (id, sum + batch)).collect() }
        })?;
        Some(Self { running: sum.running.into_iter().map(|(id, sum)| (id, sum.mul_scalar(share))).collect() })
    }
}
