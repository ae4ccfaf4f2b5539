//! What the files around the tensors say of the model: transformers' and timm's `config.json`, a checkpoint's options.

use serde_json::{Map, Value};

use super::beside::Beside;
use crate::{Scheme, Source, Sourced};

/// What is stated about a model besides its tensors.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    pub image_size: Option<Sourced<(usize, usize)>>,
    pub num_heads: Option<Sourced<usize>>,
    pub decoder_num_heads: Option<Sourced<usize>>,
    pub norm_eps: Option<Sourced<f64>>,
    pub norm_pix_loss: Option<Sourced<bool>>,
    pub mask_ratio: Option<Sourced<f64>>,
    /// Values that the tensors must agree with: width, depth, hidden units, patch size, channels.
    pub shapes: Vec<(&'static str, usize)>,
}

/// transformers' models that are computed like a plain vision transformer.
const PLAIN_MODELS: [&str; 4] = ["vit", "vit_mae", "vit_msn", "deit"];
/// transformers' names of the exact GELU.
const EXACT_GELU: [&str; 2] = ["gelu", "gelu_python"];
/// Keys of timm's `model_args` that do not change what is computed from these tensors.
const HARMLESS_ARGS: [&str; 24] = [
    "img_size",
    "patch_size",
    "in_chans",
    "num_classes",
    "global_pool",
    "embed_dim",
    "depth",
    "num_heads",
    "mlp_ratio",
    "qkv_bias",
    "proj_bias",
    "class_token",
    "reg_tokens",
    "no_embed_class",
    "init_values",
    "fc_norm",
    "final_norm",
    "dynamic_img_size",
    "strict_img_size",
    "drop_rate",
    "drop_path_rate",
    "attn_drop_rate",
    "proj_drop_rate",
    "weight_init",
];

impl Said {
    /// What the files around the tensors of a scheme say. An unsupported setting is an error that names it.
    pub fn of(beside: &Beside, scheme: Scheme) -> Result<Self, String> {
        let config = beside.config.as_ref().and_then(Value::as_object);
        let mut said = match config {
            Some(config) if scheme == Scheme::Transformers => transformers(config)?,
            Some(config) if config.contains_key("architecture") => timm(config)?,
            _ => Self::default(),
        };
        let args = &beside.args;
        if said.norm_pix_loss.is_none() {
            let value = args.get("norm_pix_loss").and_then(Value::as_bool);
            said.norm_pix_loss = value.map(|value| Sourced::new(value, Source::Args));
        }
        if said.image_size.is_none() {
            let value = args.get("input_size").and_then(size).map(|side| (side, side));
            said.image_size = value.map(|value| Sourced::new(value, Source::Args));
        }
        if said.mask_ratio.is_none() {
            let value = args.get("mask_ratio").and_then(Value::as_f64);
            said.mask_ratio = value.map(|value| Sourced::new(value, Source::Args));
        }
        Ok(said)
    }
}

/// A size, small enough that areas of such sizes do not overflow.
fn size(value: &Value) -> Option<usize> {
    usize::try_from(value.as_u64()?).ok().filter(|size| *size < 1 << 31)
}

/// A side of a square, or height and width.
pub(crate) fn sides(value: &Value) -> Option<(usize, usize)> {
    match value {
        Value::Array(sides) => match sides.as_slice() {
            [height, width] => Some((size(height)?, size(width)?)),
            _ => None,
        },
        side => size(side).map(|side| (side, side)),
    }
}

fn read<T>(
    config: &Map<String, Value>,
    key: &str,
    of: impl Fn(&Value) -> Option<T>,
) -> Result<Option<Sourced<T>>, String> {
    match config.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match of(value) {
            Some(value) => Ok(Some(Sourced::new(value, Source::Config))),
            None => Err(format!("its config.json says {key} = {value}, which is not supported")),
        },
    }
}

fn transformers(config: &Map<String, Value>) -> Result<Said, String> {
    let refused = |key: &str, bound: &str| match config.get(key) {
        None | Some(Value::Null) => Ok(()),
        Some(value) => Err(format!("its config.json says {key} = {value}, but {bound}")),
    };
    let text = |key: &str| config.get(key).and_then(Value::as_str);
    if text("model_type").is_some_and(|kind| !PLAIN_MODELS.contains(&kind)) {
        refused("model_type", &format!("the supported types are {}", PLAIN_MODELS.join(", ")))?;
    }
    if !text("hidden_act").is_some_and(|name| EXACT_GELU.contains(&name)) {
        refused("hidden_act", "only the exact gelu is supported")?;
    }
    let mut shapes = Vec::new();
    for key in ["hidden_size", "num_hidden_layers", "intermediate_size", "num_channels"] {
        shapes.extend(read(config, key, size)?.map(|said| (key, said.value)));
    }
    if let Some(Sourced { value: (rows, columns), .. }) = read(config, "patch_size", sides)? {
        match rows == columns {
            true => shapes.push(("patch_size", rows)),
            false => refused("patch_size", "only square patches are supported")?,
        }
    }
    Ok(Said {
        image_size: read(config, "image_size", sides)?,
        num_heads: read(config, "num_attention_heads", size)?,
        decoder_num_heads: read(config, "decoder_num_attention_heads", size)?,
        norm_eps: read(config, "layer_norm_eps", Value::as_f64)?,
        norm_pix_loss: read(config, "norm_pix_loss", Value::as_bool)?,
        mask_ratio: read(config, "mask_ratio", Value::as_f64)?,
        shapes,
    })
}

/// The `config.json` of timm's models on the Hugging Face Hub.
fn timm(config: &Map<String, Value>) -> Result<Said, String> {
    let architecture = config.get("architecture").and_then(Value::as_str).unwrap_or_default();
    if !is_plain(architecture) {
        return Err(format!(
            "its config.json says architecture = \"{architecture}\", but only timm's plain vit_ and deit_ models of size \
             tiny to huge are supported"
        ));
    }
    let none = Map::new();
    let args = config.get("model_args").and_then(Value::as_object).unwrap_or(&none);
    let off = |value: &Value| matches!(value, Value::Null | Value::Bool(false));
    let plain = |key: &str, value: &Value| match key {
        "act_layer" => value == "gelu",
        "norm_layer" => value == "layernorm",
        "pos_embed" => value == "learn",
        _ => HARMLESS_ARGS.contains(&key),
    };
    if let Some((key, value)) = args.iter().find(|(key, value)| !off(value) && !plain(key, value)) {
        return Err(format!("its config.json says model_args.{key} = {value}, which is not supported"));
    }
    let mut shapes = Vec::new();
    for key in ["embed_dim", "depth", "in_chans"] {
        shapes.extend(read(args, key, size)?.map(|said| (key, said.value)));
    }
    Ok(Said {
        image_size: read(args, "img_size", sides)?,
        num_heads: read(args, "num_heads", size)?,
        shapes,
        ..Said::default()
    })
}

/// Whether an architecture of timm's is computed as in the paper. Others with the same tensors have other activations
/// or another epsilon.
fn is_plain(architecture: &str) -> bool {
    let name = architecture.split('.').next().unwrap_or_default();
    let Some(rest) = name.strip_prefix("vit_").or_else(|| name.strip_prefix("deit_")) else { return false };
    let mut parts = rest.split('_');
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    parts.next().is_some_and(|size| ["tiny", "small", "base", "large", "huge"].contains(&size))
        && parts.next().and_then(|patch| patch.strip_prefix("patch")).is_some_and(number)
        && parts.all(number)
}
