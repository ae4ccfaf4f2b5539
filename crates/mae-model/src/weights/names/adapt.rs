//! Equivalent forms of the same model.

use std::collections::BTreeMap;

use super::parts::part_of_others;
use crate::weights::read::Stored;

/// Brings tensors into the form used here where others write the same model differently. Missing attention biases are
/// added as zeros, and so is a missing position of the class token. Returns what was added.
///
/// `patches` is the number of patches in an image, if that is stated.
pub(crate) fn adapt(tensors: &mut BTreeMap<String, Stored>, patches: Option<usize>) -> Vec<&'static str> {
    let mut added = Vec::new();
    let biased = |tensors: &BTreeMap<String, Stored>, blocks: &str| {
        let own =
            |name: &String| name.strip_prefix(blocks).is_some_and(|rest| rest.ends_with(".attn.qkv.bias"));
        tensors.keys().any(own)
    };
    for blocks in ["blocks.", "decoder_blocks."] {
        if biased(tensors, blocks) {
            continue;
        }
        let weights = tensors.iter().filter(|(name, _)| name.starts_with(blocks));
        let biases: Vec<(String, Stored)> = weights
            .filter_map(|(name, weight)| {
                let block = name.strip_suffix("attn.qkv.weight")?;
                // BEiT stores biases under other names.
                let other = tensors.contains_key(&format!("{block}attn.q_bias"));
                let name = format!("{block}attn.qkv.bias");
                (!other).then(|| (name.clone(), Stored::zeros(&name, weight.dtype, &weight.shape[..1])))
            })
            .collect();
        if !biases.is_empty() {
            tensors.extend(biases);
            added.push("attention has no biases: zeros");
        }
    }
    if let Some(positions) = tensors.get("pos_embed")
        && let [1, rows, _] = positions.shape[..]
        && tensors.contains_key("cls_token")
        && part_of_others(tensors.keys()).is_none()
    {
        // Without a stated image size this would be a guess: 16 rows may be 4 x 4 patches, or 3 x 5 and a class token.
        if patches == Some(rows) {
            let positions = positions.with_zero_row();
            tensors.insert("pos_embed".into(), positions);
            added.push("the class token has no position: zeros");
        }
    }
    added
}
