//! Official names of a segmenter's parameters: those of transformers' `BeitForSemanticSegmentation`, behind an encoder that has
//! the names of every other file.

/// Our paths in a UPerNet and what they are called, where they differ.
const UPER: [(&str, &str); 5] = [
    ("neck.fpn1_first", "fpn1.0"),
    ("neck.fpn1_norm", "fpn1.1"),
    ("neck.fpn1_second", "fpn1.3"),
    ("neck.fpn2", "fpn2.0"),
    ("auxiliary_head.conv", "auxiliary_head.convs.0"),
];

/// What a parameter is called in an official file.
pub(super) fn official_name(path: &str) -> String {
    let Some((part, rest)) = path.split_once('.') else { return path.into() };
    match part {
        "encoder" => rest.into(),
        "linear" => format!("decode_head.{rest}"),
        _ => uper(rest),
    }
}

fn uper(path: &str) -> String {
    let replaced = UPER.iter().find_map(|(ours, official)| {
        path.strip_prefix(ours).filter(|rest| rest.starts_with('.')).map(|rest| format!("{official}{rest}"))
    });
    // A pooling and a convolution there, of which the first has no parameters.
    let pooled = || {
        let (index, rest) = path.strip_prefix("decode_head.psp_modules.")?.split_once('.')?;
        Some(format!("decode_head.psp_modules.{index}.1.{rest}"))
    };
    replaced.or_else(pooled).unwrap_or_else(|| path.into())
}

/// Whether a part of an official name belongs to a segmentation head.
pub(crate) fn is_segmentation_head(first: &str) -> bool {
    ["decode_head", "auxiliary_head", "fpn1", "fpn2"].contains(&first)
}
