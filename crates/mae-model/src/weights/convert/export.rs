//! Exports weight files for other projects.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use burn::tensor::{DType, TensorData};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

use crate::weights::durable::settle;
use crate::weights::file::WeightFile;
use crate::weights::metadata::{CONFIG_KEY, ENCODER_KEY, NORMALIZE_KEY, RESIZING_KEY, json};
use crate::weights::names::{Part, float, is_float, part, to_transformers};
use crate::{Contents, Hints, ModelError, Resize, Resizing, Scheme, Source, Sourced};

/// The dtype in which a file stores its floating-point values, whatever the compute precision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoredAs {
    /// Unchanged, to the bit.
    #[default]
    Same,
    /// 32 bits.
    F32,
    /// IEEE half precision, 16 bits: up to 65504.
    F16,
    /// bfloat16: 16 bits with the range of f32.
    Bf16,
}

impl FromStr for StoredAs {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, ModelError> {
        match name {
            "same" => Ok(Self::Same),
            "f32" => Ok(Self::F32),
            "f16" => Ok(Self::F16),
            "bf16" => Ok(Self::Bf16),
            _ => {
                let known = "same, f32, f16, bf16".into();
                Err(ModelError::UnknownName { what: "precision", name: name.into(), known })
            }
        }
    }
}

/// A tensor ready to be written.
struct Ready {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl WeightFile {
    /// Writes the model to a file, or to a new folder for transformers, completely or not at all. Returns the names, as
    /// in this file, of the tensors that the scheme has no place for and that were left out.
    ///
    /// transformers gets `ViTMAEForPreTraining` if there is a decoder, else `ViTMAEModel`, with `config.json` and
    /// `preprocessor_config.json`. What the hints add to the description is written too.
    ///
    /// # Errors
    /// [`ModelError::Export`] if the scheme cannot hold the model, a value does not fit the dtype, or `out` exists.
    /// Also fails if the file does not state what a configuration needs, or if writing fails.
    pub fn export(
        &self,
        scheme: Scheme,
        stored_as: StoredAs,
        hints: &Hints,
        out: impl AsRef<Path>,
    ) -> Result<Vec<String>, ModelError> {
        let out = out.as_ref();
        if out.exists() {
            return Err(self.refused("there is something already".into(), out));
        }
        // Refuse a model that is computed differently, because its tensors alone would not show it.
        self.said()?;
        let configs = match scheme {
            Scheme::Transformers => Some(self.transformers_configs(hints, out)?),
            _ => None,
        };
        let vit = if self.contents() == Contents::Full { "vit." } else { "" };
        let (mut tensors, mut left) = (Vec::new(), self.other.clone());
        for (name, stored) in &self.tensors {
            let names = match scheme {
                Scheme::Official => vec![name.clone()],
                Scheme::Timm if matches!(part(name), Part::Decoder | Part::SegmentationHead) => Vec::new(),
                Scheme::Timm => vec![name.clone()],
                Scheme::Transformers => to_transformers(name, vit),
            };
            if names.is_empty() {
                if part(name) == Part::Encoder {
                    let reason = format!(
                        "{} has no place for {}, without which it is another model",
                        scheme, stored.name
                    );
                    return Err(self.refused(reason, out));
                }
                left.push(stored.name.clone());
                continue;
            }
            let read = |source| ModelError::Read { path: self.path.clone(), source };
            let bytes = stored.read().map_err(read)?;
            let mut shape = stored.shape.clone();
            let (dtype, bytes) = self.converted(&stored.name, stored.dtype, bytes, stored_as, out)?;
            // A qkv becomes three tensors with a third of its rows each.
            if names.len() > 1 {
                match shape.first_mut().filter(|rows| rows.is_multiple_of(names.len())) {
                    Some(rows) => *rows /= names.len(),
                    None => {
                        let reason = format!(
                            "{} of shape {:?} cannot be split into query, key and value",
                            stored.name, stored.shape
                        );
                        return Err(self.refused(reason, out));
                    }
                }
            }
            let size = bytes.len() / names.len();
            for (i, name) in names.into_iter().enumerate() {
                let bytes = bytes[i * size..][..size].to_vec();
                tensors.push(Ready { name, dtype, shape: shape.clone(), bytes });
            }
        }
        match configs {
            None => write(&tensors, self.description(scheme, hints), out)?,
            Some(configs) => write_folder(&tensors, configs, out)?,
        }
        Ok(left)
    }

    fn refused(&self, reason: String, out: &Path) -> ModelError {
        ModelError::Export { path: self.path.clone(), out: out.into(), reason }
    }

    fn converted(
        &self,
        name: &str,
        dtype: Dtype,
        bytes: Vec<u8>,
        stored_as: StoredAs,
        out: &Path,
    ) -> Result<(Dtype, Vec<u8>), ModelError> {
        let to = match stored_as {
            StoredAs::Same => return Ok((dtype, bytes)),
            // Integers, such as a batch norm's counts, stay unchanged.
            _ if !is_float(dtype) => return Ok((dtype, bytes)),
            StoredAs::F32 => Dtype::F32,
            StoredAs::F16 => Dtype::F16,
            StoredAs::Bf16 => Dtype::BF16,
        };
        let burn = |dtype| float(dtype).unwrap_or(DType::F64);
        let size = bytes.len() * 8 / dtype.bitsize();
        let data = TensorData::from_bytes_vec(bytes, vec![size], burn(dtype)).convert_dtype(burn(to));
        let infinite = data.iter::<f32>().filter(|value| !value.is_finite()).count();
        if infinite > 0 {
            let reason = format!("{infinite} numbers of {name} are not finite as {to:?}");
            return Err(self.refused(reason, out));
        }
        Ok((to, data.as_bytes().to_vec()))
    }

    /// The metadata of the exported file: what this file and those beside it say of the model and its images. Values
    /// that are only assumed are left out.
    fn description(&self, scheme: Scheme, hints: &Hints) -> BTreeMap<String, String> {
        let mut metadata = self.metadata.clone();
        let mut say = |key: &str, text: String| {
            metadata.entry(key.into()).or_insert(text);
        };
        let told = self.told(hints);
        if let (Scheme::Official, Ok(config), Ok(normalize)) =
            (scheme, self.mae_config(hints), self.normalize())
        {
            say(CONFIG_KEY, json(&config));
            say(NORMALIZE_KEY, json(&normalize));
        } else if let (Ok(told), Ok(vit)) = (&told, self.vit_config(hints))
            && ![Source::Usual, Source::File].contains(&told.heads)
        {
            say(ENCODER_KEY, json(&vit));
        }
        if let Ok(Sourced { value, source }) = self.said_normalize()
            && source != Source::Usual
        {
            say(NORMALIZE_KEY, json(&value));
        }
        if let Ok(told) = &told
            && let Ok(Some(said)) = self.said_resizing(told.geometry.value.image_size())
        {
            say(RESIZING_KEY, json(&said.value));
        }
        metadata
    }

    /// `config.json` and `preprocessor_config.json`. The latter is left out if there are not three channels and nothing
    /// says how they are normalised.
    fn transformers_configs(&self, hints: &Hints, out: &Path) -> Result<(Value, Option<Value>), ModelError> {
        let contents = self.contents();
        if matches!(contents, Contents::FineTuned { .. } | Contents::Probe { .. }) {
            return Err(
                self.refused(format!("transformers' ViTMAE has no classifier, but this is {contents}"), out)
            );
        }
        if let Contents::Segmenter { .. } = contents {
            let reason = format!("transformers' ViTMAE has no segmentation head, but this is {contents}");
            return Err(self.refused(reason, out));
        }
        if self.norms_mean()? {
            let reason = "transformers' ViTMAE normalises tokens, but this model normalises their mean";
            return Err(self.refused(reason.into(), out));
        }
        let vit = self.vit_config(hints)?;
        let (height, width) = vit.geometry.image_size();
        if height != width {
            return Err(
                self.refused(format!("transformers' ViTMAE takes squares, not {height} x {width} px"), out)
            );
        }
        let mut config = json!({
            "model_type": "vit_mae",
            "hidden_size": vit.stack.embed_dim,
            "num_hidden_layers": vit.stack.depth,
            "num_attention_heads": vit.stack.num_heads,
            "intermediate_size": vit.stack.mlp_dim,
            "hidden_act": "gelu",
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
            "initializer_range": 0.02,
            "layer_norm_eps": vit.norm_eps,
            "image_size": height,
            "patch_size": vit.geometry.patch_size(),
            "num_channels": vit.geometry.in_chans(),
            "qkv_bias": true,
            "architectures": ["ViTMAEModel"],
        });
        if let Some(mask_ratio) = self.mask_ratio(hints)? {
            config["mask_ratio"] = mask_ratio.into();
        }
        if contents == Contents::Full {
            let mae = self.mae_config(hints)?;
            config["architectures"] = json!(["ViTMAEForPreTraining"]);
            config["decoder_hidden_size"] = mae.decoder.embed_dim.into();
            config["decoder_num_hidden_layers"] = mae.decoder.depth.into();
            config["decoder_num_attention_heads"] = mae.decoder.num_heads.into();
            config["decoder_intermediate_size"] = mae.decoder.mlp_dim.into();
            config["norm_pix_loss"] = mae.norm_pix_loss.into();
        }
        if vit.geometry.in_chans() != 3 && self.said_normalize()?.source == Source::Usual {
            return Ok((config, None));
        }
        let normalize = self.normalize()?;
        if normalize.dtype() != DType::U8 {
            let reason = format!(
                "transformers' image processors take bytes, but its images are normalised by {normalize}"
            );
            return Err(self.refused(reason, out));
        }
        // The same as in evaluation here, if nothing else is stated.
        let usual = || Resizing { resize: Resize::Cover((height, width)), filter: "bicubic".into() };
        let resizing = self.said_resizing((height, width))?.map_or_else(usual, |said| said.value);
        let mut preprocessor = resizing
            .for_transformers(height)
            .ok_or_else(|| self.refused(format!("no processor of transformers resizes {resizing}"), out))?;
        preprocessor["do_convert_rgb"] = (vit.geometry.in_chans() == 3).into();
        preprocessor["do_rescale"] = true.into();
        preprocessor["rescale_factor"] = (1.0 / 255.0).into();
        preprocessor["do_normalize"] = true.into();
        preprocessor["image_mean"] = json!(normalize.mean());
        preprocessor["image_std"] = json!(normalize.std());
        Ok((config, Some(preprocessor)))
    }
}

fn write(tensors: &[Ready], metadata: BTreeMap<String, String>, out: &Path) -> Result<(), ModelError> {
    let views = tensors.iter().map(|ready| {
        let view = TensorView::new(ready.dtype, ready.shape.clone(), &ready.bytes);
        (&ready.name, view.expect("the bytes are the tensor's"))
    });
    let mut metadata: HashMap<String, String> = metadata.into_iter().collect();
    // The key that Python's loaders expect.
    metadata.insert("format".into(), "pt".into());
    safetensors::serialize_to_file(views, Some(metadata), out)
        .and_then(|()| Ok(settle(out)?))
        .map_err(|source| ModelError::Write { path: out.into(), source })
}

/// Writes a folder as transformers saves one, under a temporary name until it is complete.
fn write_folder(
    tensors: &[Ready],
    (config, preprocessor): (Value, Option<Value>),
    out: &Path,
) -> Result<(), ModelError> {
    let write_error = |path: &Path| {
        let path: PathBuf = path.into();
        move |source: std::io::Error| ModelError::Write { path, source: source.into() }
    };
    let mut partial = out.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    // Do not overwrite what someone else may have left there.
    fs::create_dir(&partial).map_err(write_error(&partial))?;
    let written = || {
        let preprocessor = preprocessor.as_ref().map(|value| ("preprocessor_config.json", value));
        for (name, value) in [("config.json", &config)].into_iter().chain(preprocessor) {
            let text = serde_json::to_string_pretty(value).expect("keys are strings");
            fs::write(partial.join(name), text + "\n").map_err(write_error(&partial.join(name)))?;
        }
        write(tensors, BTreeMap::new(), &partial.join("model.safetensors"))?;
        fs::rename(&partial, out).map_err(write_error(out))
    };
    written().inspect_err(|_| drop(fs::remove_dir_all(&partial)))
}
