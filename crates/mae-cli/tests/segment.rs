//! Segmentation: training, resuming, prediction and refused input.

#[allow(dead_code, reason = "other tests use the rest")]
mod common;
#[path = "common/label_maps.rs"]
mod label_maps;

use std::fs;
use std::path::Path;

use common::{mae, refused, setting};
use image::{GrayImage, ImageReader, Luma, Rgb, RgbImage};
use label_maps::rectangles;
use serde_json::Value;

const CLASSES: usize = 3;

fn printed(at: &Path, args: &str) -> String {
    let output = mae(at, args);
    assert!(output.status.success(), "{args}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The losses of a run's updates and the bytes of its weights, without the header.
fn outcome(run: &Path) -> (Vec<Value>, Vec<u8>) {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let losses =
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["loss"].clone()).collect();
    let bytes = fs::read(run.join("model.safetensors")).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (losses, bytes[8 + header..].to_vec())
}

/// The indices that a palette PNG stores.
fn indices(path: &Path) -> (u32, u32, Vec<u8>) {
    let mut decoder = png::Decoder::new(std::io::BufReader::new(fs::File::open(path).unwrap()));
    decoder.set_transformations(png::Transformations::IDENTITY);
    let mut reader = decoder.read_info().unwrap();
    assert_eq!(reader.info().color_type, png::ColorType::Indexed);
    assert_eq!(reader.info().bit_depth, png::BitDepth::Eight);
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    pixels.truncate(info.buffer_size());
    (info.width, info.height, pixels)
}

#[test]
fn a_segmenter_learns_resumes_and_predicts_what_it_was_measured_by() {
    let at = tempfile::tempdir().unwrap();
    let at = at.path();
    setting(at);
    rectangles(&at.join("train"), 16);
    rectangles(&at.join("val"), 5);
    let data = "train/images train/masks --val-images val/images --val-masks val/masks";
    let options =
        "--epochs 24 --batch-size 4 --base-lr 0.5 --seed 1 --channels 16 --drop-path 0.1 --dice 0.5";
    let text = printed(at, &format!("segment . {data} {options} --out whole"));
    assert!(text.contains("UPerNet of 16 channels") && text.contains("mIoU"), "{text}");

    let scores = json(&at.join("whole/scores.json"));
    let miou = scores["mean_iou"].as_f64().unwrap();
    assert!(miou > 0.7, "mIoU {miou}: {text}");
    for picture in ["classes.png", "confusion.png", "worst.png", "pictures/examples.png", "report.html"] {
        assert!(at.join("whole").join(picture).exists(), "{picture} is missing");
    }
    // Whatever a run writes is not replaced by a new one.
    for entry in fs::read_dir(at.join("whole")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !["recipe.toml", "lock"].contains(&name.as_str()) {
            fs::create_dir(at.join("occupied")).unwrap();
            fs::write(at.join("occupied").join(&name), "mine").unwrap();
            let words = [name.as_str(), "which a new run would replace"];
            refused(at, &format!("segment . {data} --out occupied"), &words);
            fs::remove_dir_all(at.join("occupied")).unwrap();
        }
    }
    for stop in ["--stop-after 7", ""] {
        let begun = at.join("parts").exists();
        let what = if begun { "--resume parts".into() } else { format!(". {data} {options} --out parts") };
        let output = mae(at, &format!("segment {what} {stop}"));
        assert_eq!(output.status.code(), Some(if stop.is_empty() { 0 } else { 130 }), "{output:?}");
    }
    assert!(outcome(&at.join("parts")) == outcome(&at.join("whole")), "an interruption changes something");

    // A run does not resume with other classes.
    let classes = ["a", "b", "c"]
        .map(|name| format!("[[class]]\nname = \"{name}\"\nvalue = {}\n", name.as_bytes()[0] - b'a'));
    fs::write(at.join("renamed.toml"), "ignore = [255]\n".to_owned() + &classes.concat()).unwrap();
    refused(at, "segment --resume parts --epochs 25 --set maps.classes=renamed.toml", &["maps.classes"]);
    let map = at.join("train/masks/00.png");
    let kept = fs::read(&map).unwrap();
    GrayImage::from_pixel(20, 18, Luma([7])).save(&map).unwrap();
    refused(at, "segment --resume parts --epochs 25", &["the classes 0, 1, 2, and have 0, 1, 2, 7 now"]);
    fs::write(&map, kept).unwrap();

    // The predictions for the held-out images are those that the evaluation measured.
    printed(at, "segment predict whole val/images predicted");
    let mut confusion = vec![vec![0_u64; CLASSES]; CLASSES];
    for i in 0..5 {
        let name = if i % 2 == 0 { format!("{i:02}.png") } else { format!("sub/{i:02}.png") };
        let truth =
            ImageReader::open(at.join("val/masks").join(&name)).unwrap().decode().unwrap().into_luma8();
        let (width, height, predicted) = indices(&at.join("predicted/masks").join(&name));
        assert_eq!((width, height), truth.dimensions());
        assert!(at.join("predicted/overlays").join(&name).exists());
        for (truth, predicted) in truth.pixels().zip(predicted).filter(|(truth, _)| truth.0 != [255]) {
            confusion[usize::from(truth.0[0])][usize::from(predicted)] += 1;
        }
    }
    assert_eq!(scores["confusion"], serde_json::to_value(&confusion).unwrap());

    // Existing label maps are not predicted again, and label maps of other options are not mixed with them.
    let map = at.join("predicted/masks/00.png");
    let before = fs::metadata(&map).unwrap().modified().unwrap();
    fs::remove_file(at.join("predicted/masks/02.png")).unwrap();
    printed(at, "segment predict whole val/images predicted");
    assert_eq!(fs::metadata(&map).unwrap().modified().unwrap(), before);
    assert!(at.join("predicted/masks/02.png").exists());
    refused(
        at,
        "segment predict whole val/images predicted --flip",
        &["predicted", "other weights, images or options", "--force"],
    );
    refused(
        at,
        "segment predict whole train/images predicted",
        &["predicted", "other weights, images or options"],
    );
    fs::remove_file(at.join("predicted/overlays/02.png")).unwrap();
    printed(at, "segment predict whole val/images predicted");
    assert!(at.join("predicted/overlays/02.png").exists());
    // An image that is newer than its label map is segmented again.
    let blank = RgbImage::from_pixel(20, 18, Rgb([110; 3]));
    blank.save(at.join("val/images/00.png")).unwrap();
    let (.., old) = indices(&map);
    printed(at, "segment predict whole val/images predicted");
    assert_ne!(indices(&map).2, old);
    printed(at, "segment predict whole val/images predicted --flip --scales 0.75,1 --force");
    blank.save(at.join("val/images/00.jpg")).unwrap();
    refused(at, "segment predict whole val/images p", &["00.png", "00.jpg", "would both be named 00"]);
    fs::remove_file(at.join("val/images/00.jpg")).unwrap();
    refused(
        at,
        "segment predict whole val/images p --mode whole --scales 2",
        &["scales is 2", "1 for whole images"],
    );
    refused(at, "segment predict . val/images p", &["holds", "no segmentation head"]);

    // Crops of another size than the encoder was trained on.
    printed(
        at,
        &format!("segment . {data} --crop-size 24x16 --channels 8 --epochs 2 --batch-size 4 --out crops"),
    );
    printed(at, "segment predict crops val/images predicted-by-crops");
    assert!(printed(at, "inspect crops/model.safetensors").contains("24 x 16 px"));
    refused(at, &format!("segment . {data} --crop-size 18 --out odd"), &["18", "patch", "4"]);

    // The file of classes that prediction writes is a class map.
    let classes = format!(
        "segment . {data} --classes predicted/classes.toml --head linear --epochs 1 --batch-size 4 --out linear"
    );
    assert!(printed(at, &classes).contains("linear"));
    let text = printed(at, "inspect whole/model.safetensors");
    assert!(text.contains("segment") && text.contains("3 classes"), "{text}");
}

#[test]
fn windows_and_averages_survive_an_interruption() {
    let at = tempfile::tempdir().unwrap();
    let at = at.path();
    setting(at);
    rectangles(&at.join("train"), 6);
    rectangles(&at.join("val"), 2);
    // Images and label maps are found in the data set's folder.
    let options =
        "--epochs 2 --batch-size 2 --channels 8 --base-lr 0.1 --ema 0.8 --window 14 --crops-per-image 2";
    printed(at, &format!("segment . . {options} --out whole"));
    let parts = "train/images train/masks --val-images val/images --val-masks val/masks";
    let stopped = mae(at, &format!("segment . {parts} {options} --out parts --stop-after 5"));
    assert_eq!(stopped.status.code(), Some(130), "{stopped:?}");
    printed(at, "segment --resume parts");
    let whole = outcome(&at.join("whole"));
    assert_eq!(whole.0.len(), 12);
    // A recipe may name the label maps, and the command line the images.
    printed(at, "segment . train/images --config whole/recipe.toml --out by-recipe");
    assert!(outcome(&at.join("by-recipe")) == whole);
    assert!(
        outcome(&at.join("parts")) == whole,
        "an interruption, or a data set's folder, changes something"
    );
    printed(at, &format!("segment . . {} --out without", options.replace("--ema 0.8", "")));
    let without = outcome(&at.join("without"));
    assert!(
        without.0 == whole.0 && without.1 != whole.1,
        "an average is what is kept, and not what is trained"
    );
}

#[test]
fn vocs_folder_is_trained_on_as_it_is_distributed() {
    let at = tempfile::tempdir().unwrap();
    let at = at.path();
    setting(at);
    rectangles(&at.join("voc"), 6);
    fs::rename(at.join("voc/images"), at.join("voc/JPEGImages")).unwrap();
    fs::rename(at.join("voc/masks"), at.join("voc/SegmentationClass")).unwrap();
    fs::create_dir_all(at.join("voc/ImageSets/Segmentation")).unwrap();
    fs::write(at.join("voc/ImageSets/Segmentation/train.txt"), "00\nsub/01\n02\n").unwrap();
    fs::write(at.join("voc/ImageSets/Segmentation/val.txt"), "sub/03\n04\n").unwrap();
    let options = "--epochs 2 --batch-size 3 --head linear --blocks 1";
    let text = printed(at, &format!("segment . voc {options} --out found"));
    assert!(text.contains("train.txt: 3 of 6 images") && text.contains("21: background"), "{text}");
    assert_eq!(json(&at.join("found/scores.json"))["images"], 2);
    let (images, masks) = ("voc/JPEGImages", "voc/SegmentationClass");
    let lists = "--list voc/ImageSets/Segmentation/train.txt --val-list voc/ImageSets/Segmentation/val.txt";
    printed(
        at,
        &format!(
            "segment . {images} {masks} --val-images {images} --val-masks {masks} {lists} --classes voc {options} --out named"
        ),
    );
    assert!(outcome(&at.join("found")) == outcome(&at.join("named")));
    printed(at, "segment --resume found --epochs 3");
    fs::write(at.join("voc/ImageSets/Segmentation/train.txt"), "00\nsub/01\n04\n").unwrap();
    refused(
        at,
        "segment --resume found --epochs 4",
        &["the training images are not those that the run began with"],
    );
    fs::write(at.join("voc/ImageSets/Segmentation/train.txt"), "00\nsub/07\n").unwrap();
    refused(at, &format!("segment . voc {options} --out no"), &["train.txt", "line 2", "sub/07"]);
    refused(
        at,
        &format!("segment . voc {options} --val-share 0.5 --out no"),
        &["maps.list", "train.txt", "val_share"],
    );
    refused(at, &format!("segment . train {options} --out no"), &["IMAGES is train", "label maps", "(VOC)"]);
}

#[test]
fn label_maps_that_do_not_fit_are_refused_by_name() {
    let at = tempfile::tempdir().unwrap();
    let at = at.path();
    setting(at);
    rectangles(&at.join("train"), 4);
    let data = "train/images train/masks --val-share 0.25 --epochs 1 --batch-size 2 --out run";
    let refuse = |args: &str, words: &[&str]| {
        refused(at, args, words);
        assert!(!at.join("run").exists() || fs::remove_dir_all(at.join("run")).is_ok());
    };
    refuse(
        &format!("segment . {data} --set batch_size=1"),
        &["batch_size is 1", "at least 2", "batch norms"],
    );
    refuse(&format!("segment . {data} --min-crop 0.5"), &["crop_scale is 0.5 to 1", "segment.scale"]);
    refuse(&format!("segment . {data} --blocks 99"), &["blocks is 99", "the encoder's"]);
    refuse(
        &format!("segment . {data} --set segment.class_weights=[1,2]"),
        &["class_weights", "2 numbers", "3 numbers"],
    );
    refuse("segment . train/images nowhere --val-share 0.25", &["nowhere"]);

    fs::write(
        at.join("two.toml"),
        "[[class]]\nname = \"a\"\nvalue = 0\n[[class]]\nname = \"b\"\nvalue = 1\n",
    )
    .unwrap();
    refuse(&format!("segment . {data} --classes two.toml"), &["masks", "2"]);
    fs::write(at.join("one.toml"), "[[class]]\nname = \"all\"\nvalue = 0\n").unwrap();
    refuse(&format!("segment . {data} --classes one.toml"), &["one.toml", "2"]);

    fs::create_dir_all(at.join("others")).unwrap();
    GrayImage::new(8, 8).save(at.join("others/else.png")).unwrap();
    refuse(
        "segment . train/images others --val-share 0.25 --classes two.toml --out run",
        &["others", "else.png"],
    );

    // One label map has another size than its image.
    GrayImage::new(9, 8).save(at.join("train/masks/00.png")).unwrap();
    refuse(&format!("segment . {data}"), &["00.png", "9", "20"]);
}
