//! Images with several classes: tables, fine-tuning, probes, evaluation and prediction.

#[allow(dead_code, reason = "other tests use the rest")]
mod common;

use std::fs;
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use common::{BLUE, RED, mae, refused, setting};
use image::{Rgb, RgbImage};
use mae_model::{Hints, WeightFile};
use serde_json::Value;

const GREY: [u8; 3] = [100, 100, 100];

/// Writes images whose left half may be red and whose right half may be blue, and a table of these classes.
fn halves(at: &Path, count: usize) {
    fs::create_dir_all(at.join("images")).unwrap();
    let mut table = String::from("file_name,tags\n");
    for i in 0..count {
        let (red, blue) = (i % 2 == 1, i / 2 % 2 == 1);
        let noise = |x: u32, y: u32| ((x * 7 + y * 5 + i as u32 * 11) % 30) as u8;
        let colour = |x: u32| match x < 8 {
            true => {
                if red {
                    RED
                } else {
                    GREY
                }
            }
            false => {
                if blue {
                    BLUE
                } else {
                    GREY
                }
            }
        };
        let pixel = |x, y| Rgb(colour(x).map(|value| value + noise(x, y)));
        RgbImage::from_fn(16, 16, pixel).save(at.join(format!("images/{i:02}.png"))).unwrap();
        let tags = [red.then_some("red"), blue.then_some("blue")];
        table += &format!("{i:02}.png,{}\n", tags.into_iter().flatten().collect::<Vec<_>>().join(" | "));
    }
    fs::write(at.join("tags.csv"), table).unwrap();
}

fn printed(at: &Path, args: &str) -> String {
    let output = mae(at, args);
    assert!(output.status.success(), "{args}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn classes_of_which_an_image_has_any_number_are_learnt_measured_and_predicted() {
    let at = tempfile::tempdir().unwrap();
    let at = at.path();
    setting(at);
    halves(at, 40);
    let text = printed(at, "doctor images --labels tags.csv --label-separator | --val-share 0.25");
    assert!(text.contains("2, of 20 files each; a file may have several"), "{text}");
    assert!(text.contains("40 rows, 40 of which name an image here"), "{text}");
    assert!(text.contains("11 images; 29 are left to train on"), "{text}");

    let data = "images --labels tags.csv --label-separator | --val-share 0.25";
    refused(
        at,
        &format!("finetune . {data} --label-smoothing 0.1"),
        &["label_smoothing is 0.1", "0 for multi-label images"],
    );
    let row = |i: usize| format!("{{\"path\": \"0{i}.png\", \"class\": [\"a\", \"b\"]}}\n");
    let lists: String = (0..2).map(row).collect();
    fs::write(at.join("lists.jsonl"), lists).unwrap();
    refused(at, "knn . images --labels lists.jsonl --val-share 0.5", &["may have several classes"]);

    let options = "--batch-size 5 --base-lr 0.05 --seed 3 --flip false --min-crop 0.7";
    let text = printed(at, &format!("finetune . {data} {options} --mixup 0.2 --epochs 40 --out tuned"));
    for words in ["2 classes, any number per image", "an image may have several classes", "mAP "] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let scores = json(&at.join("tuned/scores.json"));
    assert!(scores["map"].as_f64().unwrap() > 0.95, "{scores}");
    assert!(!at.join("tuned/confusion.png").exists());
    let report = fs::read_to_string(at.join("tuned/report.html")).unwrap();
    assert!(report.contains("mAP"));

    // A run resumes with the same classes and with no others.
    printed(at, &format!("finetune . {data} {options} --mixup 0.2 --epochs 1 --out part"));
    let text = printed(at, "finetune --resume part --epochs 2");
    assert!(text.contains("mAP "), "{text}");
    refused(at, "finetune --resume part --label-separator /", &["data.label_separator"]);

    let text = printed(
        at,
        &format!("probe . {data} --cached --epochs 200 --batch-size 29 --base-lr 50 --out probed"),
    );
    assert!(text.contains("mAP "), "{text}");
    let scores = json(&at.join("probed/scores.json"));
    assert!(scores["map"].as_f64().unwrap() > 0.9, "{scores}");

    // Each predicted probability is the sigmoid of its logit.
    let device = Device::flex();
    let (model, _) = WeightFile::open_model(at.join("tuned"), None)
        .unwrap()
        .classifier(&Hints::default(), &device)
        .unwrap();
    assert!(model.config().multi_label);
    let lines = printed(at, "predict tuned images --json --top-k 2 --sheet sheet.png -q");
    for (i, line) in lines.lines().enumerate() {
        let line: Value = serde_json::from_str(line).unwrap();
        let image = image::open(at.join(format!("images/{i:02}.png"))).unwrap().into_rgb8();
        let value = |c: usize, y: u32, x: u32| (f32::from(image.get_pixel(x, y).0[c]) / 255.0 - 0.5) / 0.5;
        let values: Vec<f32> = (0..3)
            .flat_map(|c| (0..16).flat_map(move |y| (0..16).map(move |x| (c, y, x))))
            .map(|(c, y, x)| value(c, y, x))
            .collect();
        let scores = model.forward(Tensor::from_data(TensorData::new(values, [1, 3, 16, 16]), &device));
        let scores = scores.into_data().try_to_vec::<f32>().unwrap();
        let found = |class: &str| {
            let end = if line["class"] == class { "" } else { "_2" };
            assert_eq!(line[format!("class{end}")], class);
            line[format!("probability{end}")].as_f64().unwrap()
        };
        for (class, score) in ["blue", "red"].iter().zip(&scores) {
            let expected = 1.0 / (1.0 + f64::from(-score).exp());
            assert!((found(class) - expected).abs() < 1e-6, "{i}: {line}, {scores:?}");
        }
        let (red, blue) = (i % 2 == 1, i / 2 % 2 == 1);
        assert_eq!((found("red") > 0.5, found("blue") > 0.5), (red, blue), "{i}: {line}");
    }
    assert_eq!(lines.lines().count(), 40);
    assert!(at.join("sheet.png").exists());
}

#[test]
fn pre_training_takes_no_accuracy_of_images_with_several_classes() {
    let at = tempfile::tempdir().unwrap();
    let at = at.path();
    halves(at, 12);
    let data = "--data images --labels tags.csv --label-separator | --val-share 0.25";
    let text = printed(
        at,
        &format!("pretrain {data} --preset nano --image-size 16 --patch-size 4 --epochs 1 --out run"),
    );
    assert!(text.contains("no kNN or linear probe is measured"), "{text}");
    assert!(text.contains("not measured: the images have several labels each"), "{text}");
}
