//! Likely mistakes: `mae` warns of them, or refuses them and names the cause.

mod common;

use std::fs;

use common::{mae, refused, setting};
use image::RgbImage;

#[test]
fn sizes_that_waste_work_or_hide_images_are_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    setting(at);
    fs::create_dir(at.join("wide")).unwrap();
    for i in 0..8 {
        RgbImage::new(40, 30).save(at.join(format!("wide/{i}.png"))).unwrap();
    }
    let says = |args: &str, words: &[&str]| {
        let output = mae(at, args);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{args}: {output:?}");
        words.iter().for_each(|word| assert!(text.contains(word), "{args}: '{word}' is not in: {text}"));
        if words.is_empty() {
            assert!(!text.contains("warning"), "{args}: {text}");
        }
    };
    for command in ["pretrain --preset nano --dry-run --data", "doctor"] {
        says(&format!("{command} train --image-size 64"), &["warning", "enlarged 4.0 times", "64x64 px"]);
        says(&format!("{command} wide --image-size 24x16"), &["warning", "24x16 px", "50%", "16x24", "89%"]);
    }
    says("pretrain --preset nano --dry-run --data wide --image-size 32", &[]);
    // The weights take images of 16 px.
    says("finetune . train train --epochs 1 --out tuned --quiet", &[]);
}

#[test]
fn a_run_of_another_kind_is_called_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    setting(at);
    assert!(mae(at, "probe . train train --epochs 1 --out probed --quiet").status.success());
    refused(at, "pretrain --resume probed", &["probed is a probe run, but a pretrain run is needed"]);
    refused(at, "finetune --resume probed", &["probed is a probe run, but a finetune run is needed"]);
    refused(at, "pretrain --resume train", &["train is not a run: it has no recipe.toml"]);
    refused(at, "pretrain --resume probed/checkpoints", &["it is inside the run", "probed"]);
}
