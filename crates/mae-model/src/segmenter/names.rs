//! Official names of a segmenter's parameters. The heads use the names of transformers' `BeitForSemanticSegmentation`,
//! and the encoder those of every other file.

/// Paths in a UPerNet and their official names, where they differ.
const UPER: [(&str, &str); 5] = [
    ("neck.fpn1_first", "fpn1.0"),
    ("neck.fpn1_norm", "fpn1.1"),
    ("neck.fpn1_second", "fpn1.3"),
    ("neck.fpn2", "fpn2.0"),
    ("auxiliary_head.conv", "auxiliary_head.convs.0"),
];

/// The official name of a parameter.
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
    // There, each module is a pooling without parameters (0) and a convolution (1).
    let pooled = || {
        let (index, rest) = path.strip_prefix("decode_head.psp_modules.")?.split_once('.')?;
        Some(format!("decode_head.psp_modules.{index}.1.{rest}"))
    };
    replaced.or_else(pooled).unwrap_or_else(|| path.into())
}

/// Whether the first part of an official name belongs to a segmentation head.
pub(crate) fn is_segmentation_head(first: &str) -> bool {
    ["decode_head", "auxiliary_head", "fpn1", "fpn2"].contains(&first)
}
