//! Summaries of a file, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use mae_vit::StackConfig;
use serde_json::{Value, json};

use super::model::Told;
use crate::weights::file::WeightFile;
use crate::{Contents, Hints, MaeConfig, ModelError, Sourced};

impl WeightFile {
    /// Describes the file, line by line.
    pub fn describe(&self, hints: &Hints) -> String {
        let mut text = String::new();
        let mut line =
            |name: &str, value: String| writeln!(text, "{name:<15} {value}").expect("a string grows");
        line("file", self.path.display().to_string());
        if let (taken, others @ [_, ..]) = self.models() {
            line("model", format!("{taken}, out of {}", [&[taken.to_owned()], others].concat().join(", ")));
        }
        line("holds", self.contents().to_string());
        line("names", self.scheme.to_string());
        let mut types: BTreeMap<String, usize> = BTreeMap::new();
        for stored in self.tensors.values() {
            *types.entry(format!("{:?}", stored.dtype)).or_default() += 1;
        }
        let types: Vec<_> = types.iter().map(|(dtype, count)| format!("{count} {dtype}")).collect();
        let numbers: usize = self.tensors.values().map(|stored| stored.shape.iter().product::<usize>()).sum();
        let millions = numbers as f64 / 1e6;
        line("tensors", format!("{} ({}), {millions:.1} M numbers", self.tensors.len(), types.join(", ")));
        match self.said_normalize() {
            Ok(Sourced { value, source }) => line("normalised", format!("{value} ({source})")),
            Err(error) => line("normalised", format!("unknown: {error}")),
        }
        match self.told(hints) {
            Ok(Told { geometry: Sourced { value: g, source }, stack, heads, norm_eps }) => {
                let ((height, width), channels, patch) = (g.image_size(), g.in_chans(), g.patch_size());
                line(
                    "images",
                    format!("{height} x {width} px ({source}), {channels} channels, patches of {patch} px"),
                );
                match self.said_resizing((height, width)) {
                    Ok(Some(Sourced { value, source })) => line("resized", format!("{value} ({source})")),
                    Ok(None) => {}
                    Err(error) => line("resized", format!("unknown: {error}")),
                }
                let StackConfig { embed_dim, depth, num_heads, .. } = stack;
                let Sourced { value: eps, source } = norm_eps;
                line(
                    "encoder",
                    format!(
                        "{embed_dim} wide, {depth} blocks, {num_heads} heads ({heads}), norm epsilon {eps:e} ({source})"
                    ),
                );
            }
            Err(error) => line("encoder", format!("unknown: {error}")),
        }
        let assumed = Hints { norm_pix_loss: hints.norm_pix_loss.or(Some(false)), ..*hints };
        let told = self.told_mae(hints);
        match told
            .as_ref()
            .map(|(config, heads, _)| (*config, *heads))
            .or_else(|_| self.told_mae(&assumed).map(|(config, heads, _)| (config, heads)))
        {
            Ok((MaeConfig { decoder: StackConfig { embed_dim, depth, num_heads, .. }, .. }, heads)) => {
                let targets = match told {
                    Ok((MaeConfig { norm_pix_loss: true, .. }, _, source)) => {
                        format!("normalised by patch ({source})")
                    }
                    Ok((_, _, source)) => format!("pixels ({source})"),
                    Err(_) => "unknown".into(),
                };
                line(
                    "decoder",
                    format!(
                        "{embed_dim} wide, {depth} blocks, {num_heads} heads ({heads}); targets: {targets}"
                    ),
                );
            }
            Err(ModelError::NoDecoder { .. }) => line("decoder", "none".into()),
            Err(error) => line("decoder", format!("unknown: {error}")),
        }
        if let Contents::Segmenter { .. } = self.contents() {
            match self.segmenter_config() {
                Ok(config) => line("head", config.head.to_string()),
                Err(error) => line("head", format!("unknown: {error}")),
            }
        }
        self.added.iter().for_each(|added| line("added", (*added).into()));
        if let [first, rest @ ..] = self.other.as_slice() {
            let more = if rest.is_empty() { "" } else { ", …" };
            line("unused", format!("{} tensors ({first}{more})", self.other.len()));
        }
        self.metadata().keys().for_each(|key| line("metadata", key.clone()));
        text
    }

    /// The same as JSON, with every tensor under its official name.
    pub fn to_json(&self, hints: &Hints) -> Value {
        let tensors = self.tensors.iter().map(|(name, stored)| {
            let about =
                json!({ "name": stored.name, "dtype": format!("{:?}", stored.dtype), "shape": stored.shape });
            (name.clone(), about)
        });
        json!({
            "file": self.path.display().to_string(),
            "models": { "taken": self.models().0, "others": self.models().1 },
            "normalize": self.normalize().ok(),
            "scheme": self.scheme,
            "contents": self.contents(),
            "encoder": self.vit_config(hints).ok(),
            "model": self.mae_config(hints).ok(),
            "segmenter": self.segmenter_config().ok(),
            "tensors": tensors.collect::<serde_json::Map<_, _>>(),
            "other": self.other,
            "metadata": self.metadata(),
        })
    }
}
