//! Names of parameters: the official ones, those of timm and lightly, and those of transformers.

/// Names of a block's parts: official, then transformers' old and new.
const PARTS: [(&str, &[&str]); 6] = [
    ("norm1", &["layernorm_before"]),
    ("norm2", &["layernorm_after"]),
    ("attn.proj", &["attention.output.dense", "attention.o_proj"]),
    ("mlp.fc1", &["intermediate.dense", "mlp.fc1"]),
    ("mlp.fc2", &["output.dense", "mlp.fc2"]),
    ("attn.qkv", &["attention.qkv", "attention.attention.qkv"]),
];

/// transformers' names of the thirds of `attn.qkv`, in the order of its rows.
const QKV: [[&str; 2]; 3] = [
    ["attention.attention.query", "attention.q_proj"],
    ["attention.attention.key", "attention.k_proj"],
    ["attention.attention.value", "attention.v_proj"],
];

/// Names outside the blocks: official, then transformers'.
const TOP: [(&str, &str); 4] = [
    ("cls_token", "embeddings.cls_token"),
    ("pos_embed", "embeddings.position_embeddings"),
    ("patch_embed.proj", "embeddings.patch_embeddings.projection"),
    ("norm", "layernorm"),
];

/// The official name of a tensor in transformers' encoder, without `vit.`, or decoder, with `decoder.`. If the tensor
/// is a third of the official one, also returns which third.
pub(crate) fn from_transformers(name: &str) -> Option<(String, Option<usize>)> {
    if let Some(rest) = name.strip_prefix("decoder.") {
        // transformers 5.23 renames `layers.` on saving, and with it a part of `decoder_layers.`.
        let blocks = ["decoder_layers.", "decoder_encoder.layer."];
        if let Some(rest) = blocks.iter().find_map(|blocks| rest.strip_prefix(blocks)) {
            return block(rest, "decoder_blocks");
        }
        return (rest == "mask_token" || rest.starts_with("decoder_")).then(|| (rest.into(), None));
    }
    if let Some(rest) = name.strip_prefix("encoder.layer.").or_else(|| name.strip_prefix("layers.")) {
        return block(rest, "blocks");
    }
    let known = TOP.iter().find_map(|(official, theirs)| replaced(name, theirs, official));
    // Unknown embeddings count too, because they would change the tokens.
    let unknown = || name.starts_with("embeddings.").then(|| name.to_owned());
    known.or_else(unknown).map(|name| (name, None))
}

/// An unknown part keeps its name, because the block would compute something else without it.
fn block(rest: &str, tower: &str) -> Option<(String, Option<usize>)> {
    let (index, part) = rest.split_once('.')?;
    let third = QKV.iter().enumerate().find_map(|(third, names)| {
        Some((names.iter().find_map(|name| replaced(part, name, "attn.qkv"))?, Some(third)))
    });
    let whole = || {
        PARTS.iter().find_map(|(official, names)| {
            Some((names.iter().find_map(|name| replaced(part, name, official))?, None))
        })
    };
    let (part, third) = third.or_else(whole).unwrap_or_else(|| (part.into(), None));
    Some((format!("{tower}.{index}.{part}"), third))
}

/// The official name of a tensor of lightly's decoder, which stands beside the encoder's `backbone.vit`.
///
/// Up to lightly 1.5, the decoder has the official names. From 1.6 on, it is a stack of blocks, and the linear maps
/// before and after it are called `embed` and `head`, as in lightly's example for MAE.
pub(crate) fn from_lightly(name: &str) -> Option<String> {
    let Some(rest) = name.strip_prefix("decoder.") else {
        let maps = [("embed", "decoder_embed"), ("head", "decoder_pred")];
        return maps.iter().find_map(|(theirs, official)| {
            replaced(name, theirs, official).or_else(|| replaced(name, official, official))
        });
    };
    if rest == "mask_token" || rest.starts_with("decoder_") {
        return Some(rest.into());
    }
    ["pos_embed", "blocks", "norm"].iter().find_map(|part| replaced(rest, part, &format!("decoder_{part}")))
}

/// `name` with `old` replaced by `new`, if `old` is all of it or whole parts at its start.
fn replaced(name: &str, old: &str, new: &str) -> Option<String> {
    let rest = name.strip_prefix(old)?;
    (rest.is_empty() || rest.starts_with('.')).then(|| format!("{new}{rest}"))
}

/// transformers' names for an official name: three for a qkv, none if transformers has no such tensor.
///
/// `vit` is the prefix of the encoder's names: `vit.` in a model for pre-training, nothing in a bare encoder.
pub(crate) fn to_transformers(name: &str, vit: &str) -> Vec<String> {
    for (tower, theirs) in
        [("blocks.", format!("{vit}encoder.layer.")), ("decoder_blocks.", "decoder.decoder_layers.".into())]
    {
        let Some((index, part)) = name.strip_prefix(tower).and_then(|rest| rest.split_once('.')) else {
            continue;
        };
        if let Some(kind) = part.strip_prefix("attn.qkv.") {
            return QKV.iter().map(|names| format!("{theirs}{index}.{}.{kind}", names[0])).collect();
        }
        let found = PARTS.iter().find_map(|(official, names)| replaced(part, official, names.first()?));
        return found.into_iter().map(|part| format!("{theirs}{index}.{part}")).collect();
    }
    if name == "mask_token" || name.starts_with("decoder_") {
        return vec![format!("decoder.{name}")];
    }
    let found = TOP.iter().find_map(|(official, theirs)| replaced(name, official, theirs));
    found.into_iter().map(|name| format!("{vit}{name}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_new_names_are_official_ones() {
        let cases = [
            ("embeddings.cls_token", "cls_token", None),
            ("embeddings.patch_embeddings.projection.weight", "patch_embed.proj.weight", None),
            ("encoder.layer.3.attention.attention.key.bias", "blocks.3.attn.qkv.bias", Some(1)),
            ("layers.3.attention.v_proj.weight", "blocks.3.attn.qkv.weight", Some(2)),
            ("layers.11.attention.o_proj.bias", "blocks.11.attn.proj.bias", None),
            ("encoder.layer.0.output.dense.weight", "blocks.0.mlp.fc2.weight", None),
            ("encoder.layer.0.attention.output.dense.weight", "blocks.0.attn.proj.weight", None),
            ("decoder.decoder_layers.7.intermediate.dense.bias", "decoder_blocks.7.mlp.fc1.bias", None),
            ("decoder.decoder_encoder.layer.1.layernorm_after.bias", "decoder_blocks.1.norm2.bias", None),
            ("decoder.decoder_pos_embed", "decoder_pos_embed", None),
            ("decoder.mask_token", "mask_token", None),
            ("layernorm.weight", "norm.weight", None),
            // Not part of our models, but not to be overlooked.
            ("encoder.layer.0.unknown", "blocks.0.unknown", None),
            ("embeddings.register_tokens", "embeddings.register_tokens", None),
        ];
        for (name, official, third) in cases {
            assert_eq!(from_transformers(name), Some((official.to_owned(), third)), "{name}");
        }
        for name in ["pooler.dense.weight", "layernormal.weight", "decoder.other"] {
            assert_eq!(from_transformers(name), None, "{name}");
        }
    }

    #[test]
    fn names_go_to_transformers_and_back() {
        for name in [
            "cls_token",
            "pos_embed",
            "patch_embed.proj.bias",
            "norm.weight",
            "blocks.0.norm1.weight",
            "blocks.10.norm2.bias",
            "blocks.1.attn.qkv.weight",
            "blocks.1.attn.proj.bias",
            "blocks.1.mlp.fc1.bias",
            "decoder_blocks.1.mlp.fc2.weight",
            "decoder_embed.weight",
            "decoder_norm.bias",
            "decoder_pred.weight",
            "mask_token",
        ] {
            let names = to_transformers(name, "");
            assert_eq!(names.len(), if name.contains("qkv") { 3 } else { 1 }, "{name}");
            for theirs in names {
                assert_eq!(from_transformers(&theirs).unwrap().0, name);
            }
        }
        assert!(to_transformers("head.weight", "").is_empty());
    }
}
