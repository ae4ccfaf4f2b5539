//! Tests that `mae predict` writes the classifier's probabilities in every file format.

#[allow(dead_code, reason = "other tests use the rest")]
mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor, TensorData};
use common::{BLUE, RED, colours, mae, refused, setting};
use mae_model::{Classifier, ClassifierConfig, Head, Preset, save};
use mae_vit::{Geometry, InitRng, Linear, Normalize, Pooling};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;

const CLASSES: [&str; 3] = ["a \"quoted\" class", "blue, or so", "red"];

/// Saves a classifier and images of its size. Its head has larger weights than a new one, so that predictions differ
/// between images.
fn classifier(at: &Path) -> Classifier {
    let vit = Preset::Nano.config(Geometry::new((16, 16), 4, 3).unwrap()).vit();
    let classes = CLASSES.map(str::to_owned).to_vec();
    let (pooling, head) = (Pooling::MeanPatch, Head::FineTuned);
    let config = ClassifierConfig { vit, pooling, head, classes, multi_label: false };
    let device = Device::flex();
    let mut model = config.init(5, &device).unwrap();
    model.head = Linear::from_weight(InitRng::new(7).uniform(3 * 64, 0.5), [64, 3], &device);
    save(&model, &Normalize::half(3), &BTreeMap::new(), at.join("tuned.safetensors")).unwrap();
    colours(&at.join("photos"), &[("blue", BLUE, 5), ("red", RED, 6)]);
    model
}

/// The model's probabilities for an image, computed without the command.
fn probabilities(model: &Classifier, path: &Path) -> Vec<f32> {
    let image = image::open(path).unwrap().into_rgb8();
    let value = |c: usize, y: u32, x: u32| (f32::from(image.get_pixel(x, y).0[c]) / 255.0 - 0.5) / 0.5;
    let values: Vec<f32> =
        (0..3).flat_map(|c| (0..16).flat_map(move |y| (0..16).map(move |x| value(c, y, x)))).collect();
    let images = Tensor::from_data(TensorData::new(values, [1, 3, 16, 16]), &Device::flex());
    softmax(model.forward(images), 1).into_data().try_to_vec().unwrap()
}

/// Path, and classes with their probabilities.
type Found = (String, Vec<(String, f32)>);

/// Reads the rows of a CSV file.
fn csv(path: &Path) -> Vec<Found> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let columns: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    assert_eq!(columns[..3], ["path", "class", "probability"]);
    assert!(columns.len() < 4 || columns[3..5] == ["class_2", "probability_2"]);
    let found = |record: csv::StringRecord| {
        let pairs: Vec<&str> = record.iter().skip(1).collect();
        let pairs = pairs.chunks(2).filter(|pair| !pair[0].is_empty());
        (record[0].to_owned(), pairs.map(|pair| (pair[0].to_owned(), pair[1].parse().unwrap())).collect())
    };
    reader.records().map(|record| found(record.unwrap())).collect()
}

fn json(text: &str, top_k: usize) -> Vec<Found> {
    let found = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line.as_object().unwrap().len(), 1 + 2 * top_k);
        let pair = |place: usize| {
            let end = if place == 1 { String::new() } else { format!("_{place}") };
            let class = line[format!("class{end}")].as_str()?.to_owned();
            Some((class, line[format!("probability{end}")].as_f64().unwrap() as f32))
        };
        (line["path"].as_str().unwrap().to_owned(), (1..=top_k).filter_map(pair).collect())
    };
    text.lines().map(found).collect()
}

fn parquet(path: &Path, top_k: usize) -> Vec<Found> {
    let reader = SerializedFileReader::new(fs::File::open(path).unwrap()).unwrap();
    let rows = reader.get_row_iter(None).unwrap().map(Result::unwrap);
    rows.map(|row| {
        let pair = |place: usize| {
            Some((row.get_string(2 * place - 1).ok()?.clone(), row.get_float(2 * place).unwrap()))
        };
        (row.get_string(0).unwrap().clone(), (1..=top_k).filter_map(pair).collect())
    })
    .collect()
}

fn succeed(at: &Path, args: &str) -> String {
    let output = mae(at, args);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_file_holds_the_classifiers_probabilities() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let model = classifier(at);
    let args = "predict tuned.safetensors photos --batch-size 4 --quiet";
    for top_k in [1, 3] {
        let outs = ["csv", "jsonl", "parquet"].map(|kind| format!("top-{top_k}.{kind}"));
        for out in &outs {
            let said = succeed(at, &format!("{args} {out} --top-k {top_k}"));
            assert_eq!(said, format!("written         11 rows in {out}\n"));
        }
        let found = csv(&at.join(&outs[0]));
        let lines = fs::read_to_string(at.join(&outs[1])).unwrap();
        assert_eq!(found, json(&lines, top_k));
        assert_eq!(found, parquet(&at.join(&outs[2]), top_k));
        assert_eq!(succeed(at, &format!("{args} --json --top-k {top_k}")), lines);
        assert_eq!(found.len(), 11);
        for (path, found) in found {
            let expected = probabilities(&model, &at.join(&path));
            assert_eq!(found.len(), top_k);
            for (class, probability) in &found {
                let class = CLASSES.iter().position(|name| name == class).unwrap();
                assert!((probability - expected[class]).abs() < 1e-5, "{path}: {found:?} {expected:?}");
            }
            assert!(found.is_sorted_by(|a, b| a.1 >= b.1));
            assert!(expected.iter().all(|other| *other <= found[0].1 + 1e-5));
        }
    }
    let lines = succeed(at, &format!("{args} --top-k 2"));
    assert_eq!(lines.lines().count(), 11);
    assert!(lines.lines().all(|line| line.matches('%').count() == 2 && line.contains("photos/")), "{lines}");
    assert_eq!(succeed(at, "predict tuned.safetensors photos/red/0.png -q").lines().count(), 1);
}

#[test]
fn in_bf16_the_numbers_are_near_those_in_f32() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    classifier(at);
    let predicted = |precision: &str| -> BTreeMap<(String, String), f32> {
        let text = succeed(
            at,
            &format!("predict tuned.safetensors photos --precision {precision} --json --top-k 3 -q"),
        );
        let pairs = json(&text, 3).into_iter();
        let pairs = pairs
            .flat_map(|(path, found)| found.into_iter().map(move |(class, p)| ((path.clone(), class), p)));
        pairs.collect()
    };
    let features = |precision: &str| -> Vec<f32> {
        succeed(
            at,
            &format!(
                "embed tuned.safetensors photos {precision}.npy --tokens mean --precision {precision} -q"
            ),
        );
        let bytes = fs::read(at.join(format!("{precision}.npy"))).unwrap();
        let numbers = &bytes[bytes.len() - 4 * 11 * 64..];
        numbers.as_chunks().0.iter().map(|x| f32::from_le_bytes(*x)).collect()
    };
    let near = |whole: &[f32], rounded: &[f32], what: &str| {
        let largest = whole.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        let off = whole.iter().zip(rounded).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest;
        assert!(off < 2e-2 && off > 0.0, "{what} are off by {off}");
    };
    let [whole, rounded] = ["f32", "bf16"].map(predicted);
    assert!(whole.len() == 33 && whole.keys().eq(rounded.keys()));
    near(
        &whole.into_values().collect::<Vec<_>>(),
        &rounded.into_values().collect::<Vec<_>>(),
        "probabilities",
    );
    near(&features("f32"), &features("bf16"), "features");
    let output = mae(at, "predict tuned.safetensors photos --precision f16");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("unknown precision 'f16': expected f32 or bf16"), "{text}");
}

#[test]
fn an_interrupted_prediction_goes_on_and_what_cannot_be_read_has_no_class() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    classifier(at);
    fs::write(at.join("photos/blue/2.png"), "no image").unwrap();
    let args = "predict tuned.safetensors photos";
    succeed(at, &format!("{args} whole.csv"));
    let whole = fs::read(at.join("whole.csv")).unwrap();
    let found = csv(&at.join("whole.csv"));
    let empty: Vec<usize> = (0..11).filter(|i| found[*i].1.is_empty()).collect();
    assert_eq!((empty, found[2].0.as_str()), (vec![2], "photos/blue/2.png"));
    assert_eq!(
        succeed(at, &format!("{args} --json")).lines().nth(2),
        Some(r#"{"path":"photos/blue/2.png","class":null,"probability":null}"#)
    );

    // The files that a killed process leaves: the identity, and here six rows and a part of the seventh. Some processes
    // finish before they can be killed.
    let (part, identity) = (at.join("part.csv.part"), at.join("part.csv.part.json"));
    for _ in 0..100 {
        let program = Command::new(env!("CARGO_BIN_EXE_mae"))
            .current_dir(at)
            .args(args.split(' '))
            .arg("part.csv")
            .stdout(Stdio::null())
            .spawn();
        let mut child = program.unwrap();
        while !part.exists() && child.try_wait().unwrap().is_none() {}
        child.kill().unwrap();
        child.wait().unwrap();
        if part.exists() && identity.exists() {
            break;
        }
        let _ = fs::remove_file(at.join("part.csv"));
    }
    assert!(identity.exists(), "no process could be killed in time");
    succeed(at, &format!("{args} probabilities.csv --top-k 3"));
    let row = |found: &Found| -> Vec<f32> {
        let of =
            |class: &&str| found.1.iter().find(|(name, _)| name == class).map_or(f32::NAN, |found| found.1);
        CLASSES.iter().map(of).collect()
    };
    let rows: Vec<u8> =
        csv(&at.join("probabilities.csv")).iter().flat_map(row).flat_map(f32::to_le_bytes).collect();
    fs::write(&part, &rows[..6 * 12 + 5]).unwrap();
    refused(at, "predict tuned.safetensors photos/red part.csv", &["other weights, images or options"]);
    let output = mae(at, &format!("{args} part.csv"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("continuing after 6 of 11 images"), "{said}");
    assert!(fs::read(at.join("part.csv")).unwrap() == whole);
    assert!(["part", "part.json", "new"].iter().all(|end| !at.join(format!("part.csv.{end}")).exists()));
}

#[test]
fn the_sheet_shows_the_least_certain_first() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    classifier(at);
    let mut found = json(&succeed(at, "predict tuned.safetensors photos --json -q"), 1);
    found.sort_by(|a, b| a.1[0].1.total_cmp(&b.1[0].1));
    for (out, sheet) in [("", "printed.png"), ("out.parquet", "written.png")] {
        let args = format!("predict tuned.safetensors photos {out} --sheet {sheet} --sheet-images 2 -q");
        assert!(succeed(at, &args).contains(&format!("sheet           2 images in {sheet}")));
    }
    let lines = succeed(at, "predict tuned.safetensors photos --json --sheet json.png -q");
    assert_eq!(json(&lines, 1).len(), 11, "lines of JSON alone");
    let [printed, written] =
        ["printed.png", "written.png"].map(|name| image::open(at.join(name)).unwrap().into_rgb8());
    assert!(printed == written);
    // Tiles are 8 times the image's size, with a margin of 16 px and a heading of 28 px.
    let column = (0..printed.width()).find(|x| printed.get_pixel(*x, 60).0 != [255; 3]).unwrap();
    let first = image::open(at.join(&found[0].0)).unwrap().into_rgb8();
    assert_eq!(printed.get_pixel(column + 4, 48).0, first.get_pixel(0, 0).0);
    assert_eq!(printed.get_pixel(column + 12, 48).0, first.get_pixel(1, 0).0);
}

#[test]
fn what_has_no_classes_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    setting(at);
    classifier(at);
    refused(at, "predict . photos", &["model.safetensors", "encoder and decoder and no classifier"]);
    refused(
        at,
        "predict tuned.safetensors photos out.npy",
        &["out.npy is neither .csv nor .jsonl nor .parquet"],
    );
    for top_k in [0, 4] {
        let args = format!("predict tuned.safetensors photos --top-k {top_k}");
        refused(at, &args, &[&format!("--top-k is {top_k}"), "1 to 3"]);
    }
    assert_eq!(mae(at, "predict tuned.safetensors photos --sheet-images 3").status.code(), Some(2));
    refused(at, "predict tuned.safetensors photos --sheet no.png --sheet-images 0", &["--sheet-images is 0"]);
    // The weights are finite, but the logits are not.
    let mut model = classifier(at);
    model.head = Linear::from_weight(vec![3e38; 3 * 64], [64, 3], &Device::flex());
    save(&model, &Normalize::half(3), &BTreeMap::new(), at.join("large.safetensors")).unwrap();
    refused(
        at,
        "predict large.safetensors photos",
        &["large.safetensors", "photos/blue/0.png", "infinite or NaN"],
    );
    fs::write(at.join("there.csv"), "").unwrap();
    for out in ["there.csv", "--sheet there.csv", "other.csv --sheet there.csv"] {
        refused(
            at,
            &format!("predict tuned.safetensors photos {out}"),
            &["there.csv already exists; --force"],
        );
        assert!(!at.join("other.csv").exists());
    }
    let output = mae(at, "-q predict tuned.safetensors photos there.csv --sheet sheet.png --force");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert!(fs::read_to_string(at.join("there.csv")).unwrap().starts_with("path,class,probability\n"));
}
