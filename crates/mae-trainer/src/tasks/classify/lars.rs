//! LARS, the optimizer of linear probes.

use burn::optim::momentum::MomentumConfig;
use burn::optim::{LearningRate, Optimizer, Sgd, SgdConfig, SgdState};
use burn::tensor::{Device, Tensor};
use mae_vit::ops;

/// Values that LARS keeps for each parameter.
pub(super) const LARS_MOMENTS: usize = 1;

/// Layer-wise adaptive rate scaling: SGD with momentum in which the step of each matrix is a share of its norm.
///
/// # Source
/// You et al., arXiv 1708.03888, in the form that MAE trains linear probes with (table 10): no weight decay, and
/// one-dimensional parameters are not scaled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lars {
    /// The share of the previous step that is kept.
    pub momentum: f64,
    /// The length of a step relative to the weights' norm, at a learning rate of 1.
    pub trust: f64,
}

impl Default for Lars {
    fn default() -> Self {
        Self { momentum: 0.9, trust: 1e-3 }
    }
}

impl Lars {
    fn sgd(&self) -> Sgd {
        let momentum = MomentumConfig::new().with_momentum(self.momentum).with_dampening(0.0);
        SgdConfig::new().with_momentum(Some(momentum)).build()
    }
}

impl Optimizer for Lars {
    type State<const D: usize> = SgdState<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        param: Tensor<D>,
        mut gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        if D > 1 {
            let norm = |x: &Tensor<D>| ops::sum_of_squares(vec![x.clone().flatten(0, D - 1)]).sqrt(); // [1]
            let (weights, update) = (norm(&param), norm(&gradient));
            let defined = weights.clone().greater_elem(0.0).bool_and(update.clone().greater_elem(0.0));
            let ratio = weights.mul_scalar(self.trust) / update;
            // If one of the norms is 0, the gradient is not scaled.
            let ratio = ratio.ones_like().mask_where(defined, ratio);
            gradient = gradient * ratio.unsqueeze();
        }
        self.sgd().step(lr, param, gradient, state)
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        Sgd::to_device(state, device)
    }
}
