//! 16-bit and float images, from files to pictures and classes.

#[allow(dead_code, reason = "others use the rest")]
mod common;

use std::fs;
use std::path::Path;

use common::{mae, refused};
use image::{ImageBuffer, Luma};

/// Writes grey 16-bit images, dark or bright depending on the class.
fn grey(at: &Path, count: usize) {
    for i in 0..count {
        let (class, level) = [("bone", 900), ("skin", 21_000)][i % 2];
        fs::create_dir_all(at.join(class)).unwrap();
        let pixel = |x: u32, y: u32| Luma([level + ((x * 37 + y * 11 + i as u32 * 7) % 800) as u16]);
        let image: ImageBuffer<Luma<u16>, Vec<u16>> = ImageBuffer::from_fn(40, 36, pixel);
        image.save(at.join(class).join(format!("{i:02}.png"))).unwrap();
    }
}

/// Writes a NumPy file of floats, `[H, W]`, with a hole of NaNs.
fn heights(path: &Path, i: usize) {
    let mut header = String::from("{'descr': '<f4', 'fortran_order': False, 'shape': (36, 40), }");
    header += &" ".repeat(127 - 10 - header.len());
    header.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.as_bytes());
    for (y, x) in (0..36).flat_map(|y| (0..40).map(move |x| (y, x))) {
        let hole = (3..9).contains(&y) && x > 30;
        let height = if hole { f32::NAN } else { -400.0 + ((x * 3 + y * 5 + i) % 17) as f32 / 4.0 };
        file.extend(height.to_le_bytes());
    }
    fs::write(path, file).unwrap();
}

fn done(at: &Path, args: &str) -> String {
    let output = mae(at, args);
    let text =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    let expected = if args.contains("--stop-after") { 130 } else { 0 };
    assert_eq!(output.status.code(), Some(expected), "mae {args}: {text}");
    text
}

#[test]
fn deep_grey_images_are_trained_on_looked_at_and_classified() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    grey(&at.join("data"), 16);
    let short = "--epochs 2 --batch-size 4 --set model.image_size=[32,32]";
    let plan = done(at, &format!("pretrain --data data --out run {short} --stop-after 3 --quarter-turns"));
    assert!(plan.contains("pixels          u16x1, mean [11"), "{plan}");
    let recipe = fs::read_to_string(at.join("run/recipe.toml")).unwrap();
    assert!(recipe.contains("pixels = \"u16x1\"") && recipe.contains("dtype = \"u16\""), "{recipe}");
    done(at, "pretrain --resume run");
    done(at, "reconstruct run data/bone/00.png pictures/a");
    done(at, "attention run data/bone/00.png pictures/b --show 1");
    done(at, "embed run data features.npy");
    let text = done(at, "knn run data --val-share 0.25 --k 3");
    assert!(text.contains("kNN accuracy    100.0%"), "{text}");
    let text = done(at, "inspect run");
    assert!(text.contains("of u16 numbers"), "{text}");
    for verb in ["probe", "finetune"] {
        done(at, &format!("{verb} run data --val-share 0.25 --epochs 1 --batch-size 4 --out {verb}"));
    }
    done(at, "predict finetune data classes.csv --sheet sheet.png");
    for picture in ["pictures/a/00.png", "pictures/b/00.png", "sheet.png", "run/pictures/examples.png"] {
        assert!(at.join(picture).exists(), "{picture}");
    }

    // Pixels are never converted silently.
    common::colours(&at.join("photos"), &[("red", common::RED, 2)]);
    refused(at, "embed run photos/red/0.png x.npy", &["0.png", "u8x3", "u16x1"]);
    refused(at, "reconstruct run data pictures/c --show 2", &["show is 2", "from 1 to 1"]);
    refused(
        at,
        &format!("pretrain --data data --out other {short} --rand-augment 9"),
        &["rand_augment is 9", "0 for u16x1"],
    );
    refused(at, &format!("pretrain --data data --out other {short} --pixels u16x2"), &["u16x1", "u16x2"]);
    // They are converted if `--pixels` says so.
    done(at, &format!("pretrain --data data --out narrow {short} --pixels rgb8 --stop-after 1"));
}

#[test]
fn weights_of_colours_become_those_of_other_channels() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    common::setting(at);
    grey(&at.join("grey"), 12);
    done(at, "convert model.safetensors grey.safetensors --to official --in-chans 1");
    let text = done(at, "inspect grey.safetensors");
    assert!(text.contains("mean [0.5] and deviation [0.5]"), "{text}");
    // These weights take 8-bit images. 16-bit images are refused unless `--pixels` requests them, and are then
    // measured.
    let tune = "finetune grey.safetensors grey --val-share 0.25 --epochs 1 --batch-size 4 --out";
    refused(at, &format!("{tune} no"), &["u16x1", "u8x1"]);
    let plan = done(at, &format!("{tune} tuned --pixels u16x1"));
    assert!(plan.contains("u16x1, mean [1"), "{plan}");
    done(at, "convert model.safetensors four.safetensors --to official --channels blue,green,red,nir");
    done(at, "convert four.safetensors back.safetensors --to official --channels red,green,blue");
    let features = |weights: &str, out: &str| {
        done(at, &format!("embed {weights} train {out} --mean 0.5,0.5,0.5 --std 0.5,0.5,0.5"));
        fs::read(at.join(out)).unwrap()
    };
    assert!(features("back.safetensors", "back.npy") == features("model.safetensors", "model.npy"));
    refused(
        at,
        "convert model.safetensors no.safetensors --to official --channels nir",
        &["none of the channels nir is one of its red, green, blue"],
    );
}

#[test]
fn scenes_are_seen_in_windows() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::create_dir(at.join("scenes")).unwrap();
    for i in 0..3 {
        let pixel = |x: u32, y: u32| Luma([(x * 97 + y * 31 + i * 5003) as u16]);
        let scene: ImageBuffer<Luma<u16>, Vec<u16>> = ImageBuffer::from_fn(300, 200, pixel);
        scene.save(at.join("scenes").join(format!("{i}.tif"))).unwrap();
    }
    let options = "--epochs 2 --batch-size 4 --window 48 --crops-per-image 10 --set model.image_size=[32,32]";
    let plan = done(at, &format!("pretrain --data scenes --out run {options} --stop-after 9"));
    assert!(plan.contains("3 images, 10 samples of each per epoch, in windows of 48 x 48 px"), "{plan}");
    // 30 samples make 7 updates with a batch size of 4.
    assert!(plan.contains("steps           14 = 2 epochs x 7"), "{plan}");
    done(at, "pretrain --resume run");
    // A run without a stop has the same losses, to the bit.
    done(at, &format!("pretrain --data scenes --out whole {options}"));
    let losses = |run: &str| {
        let text = fs::read_to_string(at.join(run).join("metrics.jsonl")).unwrap();
        text.lines().map(|line| line.split(",\"lr\"").next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(losses("run").len(), 14);
    assert_eq!(losses("run"), losses("whole"));
    done(at, "embed run scenes features.npy --window 48");
    done(at, "reconstruct run scenes pictures --window 48");
    refused(at, "embed run scenes x.npy --window 0", &["window is 0", "at least 1"]);
    refused(
        at,
        "pretrain --data scenes --out other --crops-per-image 0",
        &["crops_per_image is 0", "at least 1"],
    );
}

#[test]
fn missing_pixels_take_no_part() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::create_dir(at.join("data")).unwrap();
    (0..8).for_each(|i| heights(&at.join("data").join(format!("{i}.npy")), i));
    let plan =
        done(at, "pretrain --data data --out run --epochs 2 --batch-size 4 --set model.image_size=[32,32]");
    assert!(plan.contains("f32x1, mean [-39"), "{plan}");
    let metrics = fs::read_to_string(at.join("run/metrics.jsonl")).unwrap();
    assert!(!metrics.contains("NaN") && !metrics.contains("null") && metrics.contains("loss"), "{metrics}");
    done(at, "embed run data features.npy");
    done(at, "reconstruct run data pictures");

    // A constant channel cannot be normalised.
    fs::create_dir(at.join("flat")).unwrap();
    for i in 0..4 {
        let flat: ImageBuffer<Luma<u16>, Vec<u16>> = ImageBuffer::from_pixel(36, 36, Luma([500]));
        flat.save(at.join("flat").join(format!("{i}.png"))).unwrap();
    }
    refused(
        at,
        "pretrain --data flat --out other --epochs 1 --batch-size 2",
        &["u16x1", "deviation", "0 in channel 1"],
    );
}

#[test]
fn missing_pixels_have_no_class() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for part in ["images", "masks"] {
        fs::create_dir(at.join(part)).unwrap();
    }
    const SIZE: (u32, u32) = (36, 40);
    for i in 0..6 {
        heights(&at.join(format!("images/{i}.npy")), i);
        let halves = image::GrayImage::from_fn(SIZE.1, SIZE.0, |x, _| Luma([u8::from(x >= 20)]));
        halves.save(at.join(format!("masks/{i}.png"))).unwrap();
    }
    done(at, "pretrain --data images --out run --epochs 1 --batch-size 3 --set model.image_size=[32,32]");
    let plan = done(
        at,
        "segment run images masks --val-share 0.34 --epochs 2 --batch-size 2 --channels 8 --short-side 0 --out segmenter",
    );
    assert!(plan.contains("f32x1"), "{plan}");
    let scores: serde_json::Value =
        serde_json::from_slice(&fs::read(at.join("segmenter/scores.json")).unwrap()).unwrap();
    let counted: u64 = scores["confusion"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|row| row.as_array().unwrap())
        .map(|n| n.as_u64().unwrap())
        .sum();
    assert_eq!(counted, 2 * (36 * 40 - 6 * 9), "{scores}");
    done(at, "segment predict segmenter images predicted");
    let mut decoder =
        png::Decoder::new(std::io::BufReader::new(fs::File::open(at.join("predicted/masks/0.png")).unwrap()));
    decoder.set_transformations(png::Transformations::IDENTITY);
    let mut reader = decoder.read_info().unwrap();
    let mut labels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut labels).unwrap();
    for (pixel, label) in labels.into_iter().enumerate() {
        let (y, x) = (pixel / 40, pixel % 40);
        let hole = (3..9).contains(&y) && x > 30;
        assert_eq!(label == 255, hole, "{label} at row {y}, column {x}");
    }
}
