//! Recognises the kind of a file by its contents, whatever its name.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The kind of a file.
pub(super) enum Kind {
    /// A safetensors file, or an unknown one, for which the safetensors reader reports what is wrong.
    Safetensors,
    /// A file of `torch.save`: a zip archive, or a pickle.
    Pytorch,
    /// What it is, and what to do.
    Other(String),
}

/// First bytes of files that are mistaken for weights, what they are, and what to do.
const SIGNATURES: [(&[u8], &str); 13] = [
    (b"\x1f\x8b", "compressed by gzip: unpack it first"),
    (b"BZh", "compressed by bzip2: unpack it first"),
    (b"\xfd7zXZ\0", "compressed by xz: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd: unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first"),
    (
        b"\x89HDF\r\n",
        "an HDF5 file, as Keras and TensorFlow write: take the model's PyTorch or safetensors weights",
    ),
    (b"GGUF", "a GGUF file, made for inference: take the model's PyTorch or safetensors weights"),
    (b"\x93NUMPY", "a NumPy array: take the model's PyTorch or safetensors weights"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"%PDF", "a PDF document"),
    (b"<?xml", "an XML document: download the file itself"),
    (b"PAR1", "a Parquet file"),
];

/// Recognises a file by its first bytes.
pub(super) fn kind(path: &Path) -> io::Result<Kind> {
    let mut head = Vec::new();
    File::open(path)?.take(1024).read_to_end(&mut head)?;
    Ok(of(&head))
}

fn of(head: &[u8]) -> Kind {
    let other = |what: &str| Kind::Other(what.into());
    // The header's length in eight bytes, of which the upper four are zero, and the header's bracket.
    if head.get(8) == Some(&b'{') && head[4..8] == [0; 4] {
        return Kind::Safetensors;
    }
    if head.is_empty() {
        return other("empty: download or copy it again");
    }
    // A zip archive's first file name begins at byte 30. Byte 26 holds its length.
    if let Some(len) = head.get(26).filter(|_| head.starts_with(b"PK"))
        && head.get(30..30 + usize::from(*len)).is_some_and(|name| name.ends_with(b".npy"))
    {
        return other("an archive of NumPy arrays: take the model's PyTorch or safetensors weights");
    }
    // Old checkpoints are pickles of protocols 2 to 5.
    if head.starts_with(b"PK") || matches!(head, [0x80, 2..=5, ..]) {
        return Kind::Pytorch;
    }
    if head.starts_with(b"version https://git-lfs") {
        let size = String::from_utf8_lossy(head);
        let size = size.lines().find_map(|line| line.strip_prefix("size ")).unwrap_or("unknown").to_owned();
        return Kind::Other(format!(
            "a Git LFS pointer to a file of {size} bytes, not that file: run 'git lfs pull' in its folder"
        ));
    }
    let text = String::from_utf8_lossy(head).trim_start_matches('\u{feff}').trim_start().to_lowercase();
    if text.starts_with("<!doctype html") || text.starts_with("<html") {
        return other("a web page: download the file itself, not the page about it");
    }
    if text.starts_with('{') || text.starts_with('[') {
        return other("a JSON file: name the file of weights, or its folder");
    }
    // ONNX begins with its version, then the name of the program that wrote it.
    if let [0x08, 1..=30, 0x12, len, name @ ..] = head
        && name.iter().take((*len).into()).all(u8::is_ascii_graphic)
        && *len > 0
    {
        return other("an ONNX model: take the PyTorch or safetensors weights that it was exported from");
    }
    if head.get(257..262) == Some(b"ustar") {
        return other("a tar archive: unpack it first");
    }
    match SIGNATURES.iter().find(|(signature, _)| head.starts_with(signature)) {
        Some((_, what)) => other(what),
        None => Kind::Safetensors,
    }
}
