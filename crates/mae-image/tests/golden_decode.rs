//! Checks that files of every kind are decoded bit for bit as by Pillow (`golden/make_decode.py`).

use std::path::{Path, PathBuf};

use mae_image::{DecodeLimits, Image, decode_file};
use serde_json::Value;

fn golden(name: &Value) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/decode").join(name.as_str().unwrap())
}

fn decode(path: &Path) -> Image {
    decode_file(path, &DecodeLimits::default()).unwrap()
}

#[test]
fn agrees_with_pillow() {
    let cases = std::fs::read_to_string(golden(&"cases.json".into())).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&cases).unwrap();
    assert!(cases.len() >= 70);
    for case in cases {
        let (ours, theirs) = (decode(&golden(&case["file"])), decode(&golden(&case["expected"])));
        let name = case["file"].as_str().unwrap();
        assert_eq!((ours.height(), ours.width()), (theirs.height(), theirs.width()), "{name}");
        assert!(ours == theirs, "{name}");
    }
}

#[test]
fn sixteen_bits_are_scaled_and_rounded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep.png");
    // White, black, and the values just below and above 100.5: 257 * 100 + 128 and + 129.
    let values = [65535, 0, 25828, 25829, 128, 129, 12345, 1];
    let deep = image::ImageBuffer::<image::Rgba<u16>, _>::from_raw(2, 1, values.to_vec()).unwrap();
    deep.save(&path).unwrap();
    let decoded = decode(&path);
    assert_eq!((decoded.height(), decoded.width(), decoded.channels()), (1, 2, 3));
    assert_eq!(decoded.data(), [255, 0, 100, 0, 1, 48], "a quarter of the values is alpha, and dropped");
}

#[test]
fn the_content_decides_and_not_the_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("really-a-png.jpg");
    std::fs::copy(golden(&"rgb.png".into()), &path).unwrap();
    assert_eq!(decode(&path), decode(&golden(&"rgb.png".into())));
}
