//! AdamW with two parameter groups: with weight decay and without.

use burn::module::ParamGroup;
use burn::optim::{AdamWState, AdaptiveMomentumState, LearningRate, ModuleOptimizer, Optimizer};
use burn::tensor::{Device, Tensor};
use mae_model::{ParamInfo, SavedModel, list_params};
use mae_vit::ops::{self, AdamWStep};
use serde::Serialize;

use crate::TrainerError;

/// Values that AdamW keeps for each parameter.
pub(crate) const ADAMW_MOMENTS: usize = 2;

/// The hyperparameters of AdamW.
///
/// # Source
/// MAE table 8; epsilon is PyTorch's default, which the official code keeps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AdamW {
    /// Decay rates of the first and second moment.
    pub betas: (f32, f32),
    /// Added to the root of the second moment.
    pub eps: f32,
    /// Decoupled weight decay, of the group that has it.
    pub weight_decay: f32,
}

impl Default for AdamW {
    fn default() -> Self {
        Self { betas: (0.9, 0.95), eps: 1e-8, weight_decay: 0.05 }
    }
}

impl AdamW {
    /// Checks every value.
    pub(crate) fn validate(&self) -> Result<(), TrainerError> {
        let Self { betas, eps, weight_decay } = *self;
        let refuse = |name, value: f32, bound| Err(TrainerError::argument(name, value, bound));
        if let Some(beta) = [betas.0, betas.1].into_iter().find(|beta| !(0.0..1.0).contains(beta)) {
            return refuse("a beta of AdamW", beta, "in [0, 1)");
        }
        if !(eps > 0.0 && eps.is_finite()) {
            return refuse("eps of AdamW", eps, "positive and finite");
        }
        if !(weight_decay >= 0.0 && weight_decay.is_finite()) {
            return refuse("weight_decay", weight_decay, "at least 0 and finite");
        }
        Ok(())
    }

    /// The optimizer of a model, grouped by parameter path.
    pub fn init<M: SavedModel>(&self, model: &M) -> ModuleOptimizer {
        // Groups are by parameter id. It follows from the path within the model, and stays the same if another module
        // wraps the model.
        let exempt = list_params(model).into_iter().filter(|p| !decays(p)).map(|p| p.id).collect();
        let without_decay = Self { weight_decay: 0.0, ..*self };
        ModuleOptimizer::from(*self).with_group(ParamGroup::from_ids(exempt), without_decay, None)
    }
}

/// Makes one pass over each parameter if the device supports it. The state is that of Burn's own AdamW.
impl Optimizer for AdamW {
    type State<const D: usize> = AdamWState<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        param: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let (time, moments) = match state {
            Some(AdamWState { momentum }) => (momentum.time + 1, [momentum.moment_1, momentum.moment_2]),
            None => (1, [gradient.zeros_like(), gradient.zeros_like()]),
        };
        let step = AdamWStep {
            betas: self.betas,
            eps: self.eps,
            weight_decay: f64::from(self.weight_decay),
            lr,
            time: time as i32,
        };
        let (param, [moment_1, moment_2]) = ops::adamw(param, gradient, moments, &step);
        let momentum = AdaptiveMomentumState { time, moment_1, moment_2, max_moment_2: None };
        (param, Some(AdamWState { momentum }))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        AdamWState { momentum: state.momentum.to_device(device) }
    }
}

/// Trained parameters, grouped by whether they have weight decay.
///
/// # Source
/// timm `param_groups_weight_decay`, which the official code calls: one-dimensional parameters and biases have no
/// weight decay; class and mask token, which are three-dimensional, have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    /// Paths of parameters with weight decay.
    pub decay: Vec<String>,
    /// Paths of parameters without weight decay.
    pub no_decay: Vec<String>,
    /// The number of values in the first group and in the second.
    pub sizes: (usize, usize),
}

pub(crate) fn decays(param: &ParamInfo) -> bool {
    param.shape.len() > 1
}

impl Groups {
    /// Groups a model's trained parameters.
    pub fn of<M: SavedModel>(model: &M) -> Self {
        Self::by(model, decays)
    }

    /// Groups a model's trained parameters by `decays`.
    pub(crate) fn by<M: SavedModel>(model: &M, decays: impl Fn(&ParamInfo) -> bool) -> Self {
        let mut groups = Self { decay: Vec::new(), no_decay: Vec::new(), sizes: (0, 0) };
        for param in list_params(model).into_iter().filter(|p| p.trained) {
            let size = param.shape.iter().product::<usize>();
            if decays(&param) {
                groups.sizes.0 += size;
                groups.decay.push(param.path);
            } else {
                groups.sizes.1 += size;
                groups.no_decay.push(param.path);
            }
        }
        groups
    }
}
