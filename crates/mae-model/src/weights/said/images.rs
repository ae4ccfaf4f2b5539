//! How images are prepared for a model, from the files around its tensors.

use mae_vit::Normalize;
use serde_json::{Map, Value};

use super::model::sides;
use crate::weights::resizing::FILTERS;
use crate::{Resize, Resizing, Source, Sourced};

/// A switch in transformers' preprocessor configuration, on by default.
fn switch(config: &Map<String, Value>, key: &str) -> Result<bool, String> {
    match config.get(key) {
        None | Some(Value::Null) => Ok(true),
        Some(Value::Bool(on)) => Ok(*on),
        Some(other) => Err(not_understood(key, other)),
    }
}

fn not_understood(key: &str, value: &Value) -> String {
    format!("its preprocessor_config.json says {key} = {value}, which is not supported")
}

/// Rewrites `(x · rescale_factor − mean) / std` of bytes as the equivalent `(x / 255 − mean) / std`.
pub(crate) fn transformers_normalize(
    config: &Map<String, Value>,
    channels: usize,
) -> Result<Option<Sourced<Normalize>>, String> {
    for key in
        ["do_flip_channel_order", "do_pad", "do_grayscale", "do_binarize", "do_color_quantize", "offset"]
    {
        if config.get(key).is_some_and(|value| value == &Value::Bool(true)) {
            return Err(format!("its preprocessor_config.json says {key}, which is not supported"));
        }
    }
    let factor = match (switch(config, "do_rescale")?, config.get("rescale_factor")) {
        (false, _) => 1.0,
        (true, None | Some(Value::Null)) => 1.0 / 255.0,
        (true, Some(value)) => value.as_f64().ok_or_else(|| not_understood("rescale_factor", value))?,
    };
    let numbers = |key: &str, usual: f64| match config.get(key) {
        // The default of transformers' own ViT processor.
        None | Some(Value::Null) if is_vit(config) => Ok(Some(vec![usual; channels])),
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => Ok(number.as_f64().map(|number| vec![number; channels])),
        Some(value) => serde_json::from_value::<Vec<f64>>(value.clone())
            .map(Some)
            .map_err(|_| not_understood(key, value)),
    };
    let (mean, std) = match switch(config, "do_normalize")? {
        true => (numbers("image_mean", 0.5)?, numbers("image_std", 0.5)?),
        false => (Some(vec![0.0; channels]), Some(vec![1.0; channels])),
    };
    let (Some(mean), Some(std)) = (mean, std) else {
        return match config
            .keys()
            .any(|key| key == "image_mean" || key == "image_std" || key == "do_normalize")
        {
            true => Err(
                "its preprocessor_config.json says that images are normalised, but not with which mean and \
                         standard deviation"
                    .into(),
            ),
            false => Ok(None),
        };
    };
    let scaled =
        |numbers: Vec<f64>| numbers.into_iter().map(|number| (number / (255.0 * factor)) as f32).collect();
    let normalize = Normalize::new(scaled(mean), scaled(std))
        .map_err(|error| format!("its preprocessor_config.json: {error}"))?;
    Ok(Some(Sourced::new(normalize, Source::Preprocessor)))
}

/// The name of the processor in a preprocessor configuration.
fn processor(config: &Map<String, Value>) -> &str {
    let names = ["image_processor_type", "feature_extractor_type"];
    names.into_iter().find_map(|key| config.get(key)?.as_str()).unwrap_or_default()
}

/// Whether this is transformers' own ViT processor, also the default if none is named.
fn is_vit(config: &Map<String, Value>) -> bool {
    let name = processor(config);
    name.is_empty() || name.starts_with("ViTImageProcessor") || name.starts_with("ViTFeatureExtractor")
}

pub(crate) fn transformers_resizing(
    config: &Map<String, Value>,
    size: (usize, usize),
) -> Result<Option<Sourced<Resizing>>, String> {
    let keys = ["size", "do_resize", "do_center_crop", "crop_size", "crop_pct", "resample"];
    if !is_vit(config) && !keys.iter().any(|key| config.contains_key(*key)) {
        return Ok(None);
    }
    let filter = match config.get("resample") {
        None | Some(Value::Null) if is_vit(config) => "bilinear",
        None | Some(Value::Null) => "bicubic",
        Some(value) => {
            let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
            let found = number.and_then(|number| FILTERS.get(number).copied());
            found.ok_or_else(|| not_understood("resample", value))?
        }
    };
    if !switch(config, "do_resize")? {
        return Ok(Some(Sourced::new(
            Resizing { resize: Resize::No, filter: filter.into() },
            Source::Preprocessor,
        )));
    }
    // All processors but transformers' own ViT crop the centre by default.
    let crops = match config.get("do_center_crop") {
        None | Some(Value::Null) => !is_vit(config),
        Some(Value::Bool(crops)) => *crops,
        Some(value) => return Err(not_understood("do_center_crop", value)),
    };
    let crop = match config.get("crop_size") {
        _ if !crops => None,
        None | Some(Value::Null) => Some(size),
        Some(value) => Some(named_sides(value).ok_or_else(|| not_understood("crop_size", value))?),
    };
    let resize = resize(config, crops, size)?;
    let made = match (resize, crop) {
        (_, Some(crop)) => crop,
        (Resize::Squash(made), None) => made,
        _ => {
            return Err(
                "its preprocessor_config.json resizes the shorter side without a centre crop, which \
                        makes images of any size"
                    .into(),
            );
        }
    };
    if made != size {
        return Err(format!(
            "its preprocessor_config.json makes images of {} x {} px, but the model's have {} x {}",
            made.0, made.1, size.0, size.1
        ));
    }
    Ok(Some(Sourced::new(Resizing { resize, filter: filter.into() }, Source::Preprocessor)))
}

/// `{"height": h, "width": w}`, a number or a pair.
fn named_sides(value: &Value) -> Option<(usize, usize)> {
    match value {
        Value::Object(object) => {
            sides(&Value::Array(vec![object.get("height")?.clone(), object.get("width")?.clone()]))
        }
        other => sides(other),
    }
}

fn resize(config: &Map<String, Value>, cropped: bool, size: (usize, usize)) -> Result<Resize, String> {
    if let Some(value) = config.get("crop_pct").filter(|value| !value.is_null()) {
        return Err(format!(
            "its preprocessor_config.json says crop_pct = {value} for {}, which is not supported",
            processor(config)
        ));
    }
    let Some(value) = config.get("size").filter(|value| !value.is_null()) else {
        return Ok(Resize::Squash(size));
    };
    if let Some(side) = value.get("shortest_edge") {
        let side = sides(side).ok_or_else(|| not_understood("size", value))?;
        return Ok(Resize::Cover(side));
    }
    let found = named_sides(value).ok_or_else(|| not_understood("size", value))?;
    // A number is the shorter side for processors that crop, and both sides for transformers' own ViT.
    let shorter = value.is_number() && !is_vit(config) && cropped;
    Ok(if shorter { Resize::Cover(found) } else { Resize::Squash(found) })
}

pub(crate) fn timm_normalize(config: &Map<String, Value>) -> Result<Option<Sourced<Normalize>>, String> {
    let numbers = |key: &str| -> Result<Option<Vec<f32>>, String> {
        let Some(value) = config.get(key).filter(|value| !value.is_null()) else { return Ok(None) };
        let read = serde_json::from_value(value.clone()).map(Some);
        read.map_err(|_| format!("its config.json says {key} = {value}, which is not supported"))
    };
    let (Some(mean), Some(std)) = (numbers("mean")?, numbers("std")?) else { return Ok(None) };
    let normalize = Normalize::new(mean, std).map_err(|error| format!("its config.json: {error}"))?;
    Ok(Some(Sourced::new(normalize, Source::Config)))
}

/// # Source
/// timm `transforms_imagenet_eval`.
pub(crate) fn timm_resizing(
    config: &Map<String, Value>,
    size: (usize, usize),
) -> Result<Option<Sourced<Resizing>>, String> {
    let refuse = |key: &str| format!("its config.json says {key} = {}, which is not supported", config[key]);
    let said = |key: &str| config.get(key).filter(|value| !value.is_null());
    if ["crop_pct", "crop_mode", "interpolation"].into_iter().all(|key| said(key).is_none()) {
        return Ok(None);
    }
    let share = match said("crop_pct") {
        // timm's `DEFAULT_CROP_PCT`.
        None => 0.875,
        Some(value) => {
            value.as_f64().filter(|share| *share > 0.0 && *share <= 1.0).ok_or_else(|| refuse("crop_pct"))?
        }
    };
    let scaled = |side: usize| (side as f64 / share).floor() as usize;
    let scaled = (scaled(size.0), scaled(size.1));
    let filter = match said("interpolation") {
        None => "bicubic",
        Some(name) => {
            FILTERS.into_iter().find(|filter| name == filter).ok_or_else(|| refuse("interpolation"))?
        }
    };
    let resize = match said("crop_mode").map(Value::as_str) {
        None | Some(Some("center")) => Resize::Cover(scaled),
        Some(Some("squash")) => Resize::Squash(scaled),
        Some(Some("border")) => {
            return Err("its config.json says crop_mode = \"border\", which is not supported".into());
        }
        Some(_) => return Err(refuse("crop_mode")),
    };
    Ok(Some(Sourced::new(Resizing { resize, filter: filter.into() }, Source::Config)))
}
