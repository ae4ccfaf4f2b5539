//! AdamW with a learning rate for each layer of an encoder.

use std::collections::BTreeMap;

use burn::module::ParamGroup;
use burn::optim::{AdamWState, LearningRate, ModuleOptimizer, Optimizer};
use burn::tensor::{Device, Tensor};
use mae_model::{ParamInfo, SavedModel, list_params};

use crate::AdamW;

/// The factor on each trained parameter's learning rate: `decay` once for each layer above it, so that the lowest
/// layers change least.
///
/// # Source
/// MAE §A.1 "Layer-wise lr decay", after arXiv 2106.08254; the official `lr_decay.py`: tokens, positions and patch
/// projection are layer 0, block i is layer i + 1, and norm and heads are the top layer, with factor 1.
pub fn layer_scales<M: SavedModel>(model: &M, decay: f64) -> Vec<(ParamInfo, f64)> {
    let top = model.encoder_config().stack.depth + 1;
    let layer = |path: &str| {
        let below = path.strip_prefix("encoder.").unwrap_or("norm");
        match below.split('.').collect::<Vec<_>>()[..] {
            ["blocks", index, ..] => index.parse().map_or(top, |index: usize| index + 1),
            ["cls_token" | "pos_embed" | "patch_embed", ..] => 0,
            _ => top,
        }
    };
    let params = list_params(model).into_iter().filter(|param| param.trained);
    params
        .map(|param| (layer(&param.path), param))
        .map(|(layer, param)| (param, decay.powi((top - layer) as i32)))
        .collect()
}

/// AdamW for a part of a model, at a multiple of the model's learning rate.
#[derive(Clone, Copy)]
struct Scaled {
    adamw: AdamW,
    scale: f64,
}

impl Optimizer for Scaled {
    type State<const D: usize> = AdamWState<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        param: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        self.adamw.step(lr * self.scale, param, gradient, state)
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        AdamW::to_device(state, device)
    }
}

/// Whether a parameter of a model on an encoder has weight decay.
///
/// # Source
/// timm `VisionTransformer.no_weight_decay`, which the official fine-tuning uses.
pub(super) fn decays(param: &ParamInfo) -> bool {
    let exempt = ["encoder.cls_token", "encoder.pos_embed"];
    param.shape.len() > 1 && !exempt.contains(&param.path.as_str())
}

/// AdamW with layer-wise learning rate decay. One-dimensional parameters, class token and positions have no weight
/// decay.
pub(super) fn layer_wise<M: SavedModel>(model: &M, adamw: AdamW, decay: f64) -> ModuleOptimizer {
    let mut groups = BTreeMap::new();
    for (param, scale) in layer_scales(model, decay) {
        groups.entry((scale.to_bits(), decays(&param))).or_insert_with(Vec::new).push(param.id);
    }
    groups.into_iter().fold(ModuleOptimizer::from(adamw), |optimizer, ((scale, decays), ids)| {
        let weight_decay = if decays { adamw.weight_decay } else { 0.0 };
        let scaled = Scaled { adamw: AdamW { weight_decay, ..adamw }, scale: f64::from_bits(scale) };
        optimizer.with_group(ParamGroup::from_ids(ids), scaled, None)
    })
}
