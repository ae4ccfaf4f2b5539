//! AdamW in two groups: with weight decay and without.

use burn::module::ParamGroup;
use burn::optim::{AdamWConfig, ModuleOptimizer};
use mae_model::{Mae, ParamInfo, list_params};
use serde::{Deserialize, Serialize};

/// AdamW's numbers.
///
/// # Source
/// MAE table 8; epsilon is PyTorch's default, which the official code keeps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamW {
    /// Decay rates of the first and second moment.
    pub betas: (f32, f32),
    /// Added to the root of the second moment.
    pub eps: f32,
    /// Decoupled weight decay of the group that decays.
    pub weight_decay: f32,
}

impl Default for AdamW {
    fn default() -> Self {
        Self { betas: (0.9, 0.95), eps: 1e-8, weight_decay: 0.05 }
    }
}

impl AdamW {
    /// The optimizer of a model, grouped by parameter path.
    pub fn init(&self, model: &Mae) -> ModuleOptimizer {
        let config = |weight_decay| {
            AdamWConfig::new()
                .with_beta_1(self.betas.0)
                .with_beta_2(self.betas.1)
                .with_epsilon(self.eps)
                .with_weight_decay(weight_decay)
        };
        // By id, which follows from the path within the model: wrapped in another module it is the same.
        let exempt = list_params(model).into_iter().filter(|p| !decays(p)).map(|p| p.id).collect();
        let exempt = ParamGroup::from_ids(exempt);
        config(self.weight_decay).init().with_group(exempt, config(0.0).build(), None)
    }
}

/// Trained parameters by whether they decay.
///
/// # Source
/// timm `param_groups_weight_decay`, which the official code calls: one-dimensional parameters and
/// biases do not decay; class and mask token, three-dimensional, do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    /// Paths of parameters with decay.
    pub decay: Vec<String>,
    /// Paths of parameters without.
    pub no_decay: Vec<String>,
    /// Numbers in the first group and in the second.
    pub sizes: (usize, usize),
}

fn decays(param: &ParamInfo) -> bool {
    param.shape.len() > 1
}

impl Groups {
    /// Sorts a model's parameters.
    pub fn of(model: &Mae) -> Self {
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
