//! What a file is, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use mae_vit::VitConfig;
use serde_json::{Value, json};

use super::describe::Hints;
use super::file::WeightFile;
use crate::{MaeConfig, ModelError};

impl WeightFile {
    /// What the file is, line by line.
    pub fn describe(&self, hints: &Hints) -> String {
        let mut text = String::new();
        let mut line =
            |name: &str, value: String| writeln!(text, "{name:<15} {value}").expect("a string grows");
        line("file", self.path.display().to_string());
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
        let normalised = match (self.said_normalize(), self.normalize()) {
            (Ok(Some(said)), Ok(_)) => said.to_string(),
            (Ok(None), Ok(assumed)) => format!("not said; by ImageNet's {assumed} if not told otherwise"),
            (Err(error), _) | (_, Err(error)) => format!("not known: {error}"),
        };
        line("normalised", normalised);
        match self.vit_config(hints) {
            Ok(VitConfig { geometry: g, stack, norm_eps }) => {
                let ((height, width), channels, patch) = (g.image_size(), g.in_chans(), g.patch_size());
                line("images", format!("{height} x {width} px, {channels} channels, patches of {patch} px"));
                let (dim, depth, heads) = (stack.embed_dim, stack.depth, stack.num_heads);
                let encoder = format!("{dim} wide, {depth} blocks, {heads} heads, norm epsilon {norm_eps:e}");
                line("encoder", encoder);
            }
            Err(error) => line("encoder", format!("not known: {error}")),
        }
        let assumed = Hints { norm_pix_loss: hints.norm_pix_loss.or(Some(false)), ..*hints };
        match self.mae_config(&assumed) {
            Ok(MaeConfig { decoder, .. }) => {
                let targets = match self.mae_config(hints).map(|config| config.norm_pix_loss) {
                    Ok(true) => "normalised by patch",
                    Ok(false) => "pixels",
                    Err(_) => "not known",
                };
                let (dim, depth, heads) = (decoder.embed_dim, decoder.depth, decoder.num_heads);
                line("decoder", format!("{dim} wide, {depth} blocks, {heads} heads; targets: {targets}"));
            }
            Err(ModelError::NoDecoder { .. }) => line("decoder", "none".into()),
            Err(error) => line("decoder", format!("not known: {error}")),
        }
        if let [first, rest @ ..] = self.other.as_slice() {
            let more = if rest.is_empty() { "" } else { ", …" };
            line("not a model's", format!("{} tensors ({first}{more})", self.other.len()));
        }
        self.metadata().keys().for_each(|key| line("metadata", key.clone()));
        text
    }

    /// The same for a program, with every tensor under its official name.
    pub fn to_json(&self, hints: &Hints) -> Value {
        let tensors = self.tensors.iter().map(|(name, stored)| {
            let about =
                json!({ "name": stored.name, "dtype": format!("{:?}", stored.dtype), "shape": stored.shape });
            (name.clone(), about)
        });
        json!({
            "file": self.path,
            "scheme": self.scheme,
            "contents": self.contents(),
            "encoder": self.vit_config(hints).ok(),
            "model": self.mae_config(hints).ok(),
            "tensors": tensors.collect::<serde_json::Map<_, _>>(),
            "other": self.other,
            "metadata": self.metadata(),
        })
    }
}
