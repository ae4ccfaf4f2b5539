//! Helpers of the tests on folders of classes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use burn::tensor::Device;
use image::RgbImage;
use mae_model::{Preset, save};
use mae_vit::{Geometry, Normalize};

pub fn mae(at: &Path, args: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mae"));
    command.current_dir(at).env("RUST_BACKTRACE", "0").args(args.split_whitespace()).output().unwrap()
}

pub fn refused(at: &Path, args: &str, words: &[&str]) {
    let output = mae(at, args);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    words.iter().for_each(|word| assert!(text.contains(word), "'{word}' is not in: {text}"));
}

/// Writes images of nearly one colour each, in a folder for each class.
pub fn colours(at: &Path, classes: &[(&str, [u8; 3], usize)]) {
    for (class, colour, count) in classes {
        fs::create_dir_all(at.join(class)).unwrap();
        for i in 0..*count {
            let noise = |x: u32, y: u32, c: usize| ((x * 7 + y * 5 + (i + c) as u32 * 11) % 20) as u8;
            let pixel = |x, y| image::Rgb([0, 1, 2].map(|c| colour[c] + noise(x, y, c)));
            RgbImage::from_fn(16, 16, pixel).save(at.join(class).join(format!("{i}.png"))).unwrap();
        }
    }
}

pub const RED: [u8; 3] = [200, 20, 20];
pub const BLUE: [u8; 3] = [20, 20, 200];

pub fn setting(at: &Path) {
    let model = Preset::Nano.config(Geometry::new((16, 16), 4, 3).unwrap()).init(3, &Device::flex()).unwrap();
    save(&model, &Normalize::half(3), &BTreeMap::new(), at.join("model.safetensors")).unwrap();
    colours(&at.join("train"), &[("red", RED, 6), ("blue", BLUE, 5)]);
}
