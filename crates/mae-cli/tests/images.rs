//! `mae embed`, `mae reconstruct` and `mae attention` on files.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use burn::tensor::{Device, Tensor, TensorData};
use image::RgbImage;
use mae_model::{Mae, Preset, save};
use mae_vit::{Geometry, Normalize};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{ListAccessor, Row, RowAccessor};
use safetensors::SafeTensors;

fn command(at: &Path, args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mae"));
    command.current_dir(at).env("RUST_BACKTRACE", "0").args(args.split_whitespace());
    command
}

fn mae(at: &Path, args: &str) -> Output {
    command(at, args).output().unwrap()
}

fn succeed(at: &Path, args: &str) {
    let output = mae(at, args);
    assert!(output.status.success(), "{output:?}");
}

fn refused(at: &Path, args: &str, words: &[&str]) {
    let output = mae(at, args);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    words.iter().for_each(|word| assert!(text.contains(word), "'{word}' is not in: {text}"));
}

fn pixel(i: usize, x: u32, y: u32) -> [u8; 3] {
    [(i * 31 + x as usize * 9) as u8, (y * 13 + i as u32) as u8, (x * y) as u8]
}

/// A model and images of its size, so that they reach the model unchanged.
fn setting(at: &Path, images: usize) -> Mae {
    let model = Preset::Nano.config(Geometry::new((16, 16), 4, 3).unwrap()).init(3, &Device::flex()).unwrap();
    save(&model, &Normalize::half(3), &BTreeMap::new(), at.join("model.safetensors")).unwrap();
    fs::create_dir(at.join("photos")).unwrap();
    for i in 0..images {
        let image = RgbImage::from_fn(16, 16, |x, y| image::Rgb(pixel(i, x, y)));
        image.save(at.join(format!("photos/{i:03}.png"))).unwrap();
    }
    model
}

/// Image `i`, normalised as the model receives it.
fn images(i: usize) -> Tensor<4> {
    let value = |c: usize, y: u32, x: u32| (f32::from(pixel(i, x, y)[c]) / 255.0 - 0.5) / 0.5;
    let values =
        (0..3).flat_map(|c| (0..16).flat_map(move |y| (0..16).map(move |x| value(c, y, x)))).collect();
    Tensor::from_data(TensorData::new(values, [1, 3, 16, 16]), &Device::flex())
}

/// The tokens of image `i`, computed without the command.
fn tokens(model: &Mae, i: usize, blocks: Option<usize>) -> Vec<f32> {
    let images = images(i);
    let tokens: Tensor<3> = match blocks {
        Some(blocks) => model.encoder.forward_to(images, blocks),
        None => model.encode(images),
    };
    tokens.into_data().try_to_vec().unwrap()
}

/// The header and the values of a `.npy` file.
fn npy(path: &Path) -> (String, Vec<f32>) {
    let bytes = fs::read(path).unwrap();
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let header = 10 + u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    assert_eq!(header % 64, 0);
    let text = String::from_utf8_lossy(&bytes[10..header]).into_owned();
    (text, bytes[header..].as_chunks().0.iter().map(|x| f32::from_le_bytes(*x)).collect())
}

/// Path, label and feature.
type ParquetRow = (String, Option<String>, Vec<f32>);

/// The rows of a Parquet file, and its metadata.
fn parquet(path: &Path) -> (Vec<ParquetRow>, BTreeMap<String, String>) {
    let reader = SerializedFileReader::new(fs::File::open(path).unwrap()).unwrap();
    let pairs = reader.metadata().file_metadata().key_value_metadata().unwrap();
    let pairs = pairs.iter().map(|pair| (pair.key.clone(), pair.value.clone().unwrap())).collect();
    let row = |row: Row| {
        let list = row.get_list(2).unwrap();
        let feature = (0..list.len()).map(|i| list.get_float(i).unwrap()).collect();
        (row.get_string(0).unwrap().clone(), row.get_string(1).ok().cloned(), feature)
    };
    (reader.get_row_iter(None).unwrap().map(|found| row(found.unwrap())).collect(), pairs)
}

fn close(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-5, "{worst}");
}

#[test]
fn features_are_the_encoders_in_the_order_of_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let model = setting(at, 7);
    let args = "embed . photos --batch-size 3";
    succeed(at, &format!("{args} class.npy --tokens class"));
    succeed(at, &format!("{args} mean.npy"));
    succeed(at, &format!("{args} all.safetensors --tokens all --block 2"));
    let (header, class) = npy(&at.join("class.npy"));
    assert!(header.contains("'shape': (7, 64, )") && header.contains("'<f4'"), "{header}");
    let mean = npy(&at.join("mean.npy")).1;
    let bytes = fs::read(at.join("all.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let all = file.tensor("features").unwrap();
    assert_eq!(all.shape(), [7, 17, 64]);
    let all: Vec<f32> = all.data().as_chunks().0.iter().map(|x| f32::from_le_bytes(*x)).collect();
    for i in 0..7 {
        let expected = tokens(&model, i, None);
        close(&class[i * 64..][..64], &expected[..64]);
        let average = |d: usize| (1..17).map(|token| expected[token * 64 + d]).sum::<f32>() / 16.0;
        close(&mean[i * 64..][..64], &(0..64).map(average).collect::<Vec<_>>());
        close(&all[i * 17 * 64..][..17 * 64], &tokens(&model, i, Some(2)));
    }
    // A Parquet file contains the names, and null as the class of an image without one.
    succeed(at, &format!("{args} mean.parquet"));
    let (rows, pairs) = parquet(&at.join("mean.parquet"));
    let names: Vec<String> = (0..7).map(|i| format!("photos/{i:03}.png")).collect();
    assert!(rows.iter().map(|row| &row.0).eq(&names) && rows.iter().all(|row| row.1.is_none()));
    assert_eq!(rows.into_iter().flat_map(|row| row.2).collect::<Vec<_>>(), mean);
    assert_eq!(pairs["shape"], "[64]");
    let about: serde_json::Value = serde_json::from_str(&pairs["about"]).unwrap();
    assert!(about["weights"] == "./model.safetensors" && about["tokens"] == "Mean", "{about}");
    assert!(!at.join("mean.parquet.txt").exists());
    let names = fs::read_to_string(at.join("class.npy.txt")).unwrap();
    assert_eq!(names, (0..7).map(|i| format!("photos/{i:03}.png\n")).collect::<String>());
}

#[test]
fn an_interrupted_embedding_goes_on_and_another_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    setting(at, 40);
    let args = "embed . photos --batch-size 4";
    succeed(at, &format!("{args} whole.npy"));
    let whole = fs::read(at.join("whole.npy")).unwrap();

    // The files that a killed process leaves. Some processes finish before they can be killed.
    let (part, about) = (at.join("part.npy.part"), at.join("part.npy.part.json"));
    for _ in 0..100 {
        let mut child = command(at, &format!("{args} part.npy")).spawn().unwrap();
        while !part.exists() && child.try_wait().unwrap().is_none() {}
        child.kill().unwrap();
        child.wait().unwrap();
        if part.exists() && about.exists() {
            break;
        }
        let _ = fs::remove_file(at.join("part.npy"));
    }
    assert!(about.exists(), "no process could be killed in time");
    // The partial file of a Parquet file has the plain rows, without a header.
    fs::copy(&about, at.join("part.parquet.part.json")).unwrap();
    let rows = whole.len() - 40 * 256;
    fs::write(at.join("part.parquet.part"), &whole[rows..rows + 19 * 256 + 3]).unwrap();
    fs::write(&part, &whole[..whole.len() / 2 + 3]).unwrap();
    refused(
        at,
        &format!("{args} part.npy --tokens class"),
        &["part.npy.part", "other weights, images or options"],
    );
    refused(at, "embed . photos/000.png part.npy", &["other weights, images or options"]);
    // The names are written only once all rows are.
    assert!(!at.join("part.npy.txt").exists());
    for out in ["part.npy", "part.parquet"] {
        let output = mae(at, &format!("{args} {out}"));
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("continuing after 19 of 40 images"), "{text}");
        let left = ["part", "part.json", "new"].map(|end| at.join(format!("{out}.{end}")));
        assert!(left.iter().all(|path| !path.exists()));
    }
    assert!(fs::read(at.join("part.npy")).unwrap() == whole, "the rows are others");
    let features: Vec<f32> = parquet(&at.join("part.parquet")).0.into_iter().flat_map(|row| row.2).collect();
    assert_eq!(features, npy(&at.join("whole.npy")).1);
    refused(at, &format!("{args} whole.npy"), &["whole.npy already exists", "--force"]);
    fs::write(at.join("whole.npy"), "else").unwrap();
    // A partial file of another table is not continued.
    fs::write(at.join("whole.npy.part"), vec![1; 500]).unwrap();
    let output = mae(at, &format!("{args} whole.npy --force -q"));
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert!(fs::read(at.join("whole.npy")).unwrap() == whole, "the rows are others");
    refused(at, &format!("{args} out.csv"), &["neither .npy nor .safetensors nor .parquet"]);
    refused(at, &format!("{args} out.npy --block 5"), &["--block is 5", "blocks 1 to 4"]);
}

#[test]
fn the_row_of_an_unreadable_image_is_no_number_and_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    setting(at, 5);
    fs::write(at.join("photos/002.png"), "no image").unwrap();
    let output = mae(at, "embed . photos out.npy");
    assert!(
        output.status.success() && String::from_utf8_lossy(&output.stderr).contains("002.png"),
        "{output:?}"
    );
    let rows = npy(&at.join("out.npy")).1;
    let finite: Vec<bool> = rows.chunks(64).map(|row| row.iter().all(|x| x.is_finite())).collect();
    assert_eq!(finite, [true, true, false, true, true]);
    assert!(rows[2 * 64..3 * 64].iter().all(|x| x.is_nan()));
}

/// A pixel of the second tile. Tiles are 8 times the image's size, with a margin of 16 px and a heading of 28 px.
fn second_tile(sheet: &RgbImage, x: u32, y: u32) -> [u8; 3] {
    let columns: Vec<u32> = (0..sheet.width()).filter(|x| sheet.get_pixel(*x, 60).0 != [255; 3]).collect();
    let gap = columns.windows(2).find(|pair| pair[1] - pair[0] > 1).unwrap();
    sheet.get_pixel(gap[1] + x, 44 + y).0
}

#[test]
fn attention_is_brightest_over_the_patch_that_is_looked_at_most() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let model = setting(at, 3);
    succeed(at, "attention . photos rollout");
    succeed(at, "attention . photos/001.png last --mode last");
    let mut names: Vec<_> =
        fs::read_dir(at.join("rollout")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["000000-000.png", "000001-001.png", "000002-002.png"]);
    let images = images(1);
    let rollout: Vec<f32> = model.encoder.rollout(images.clone()).into_data().try_to_vec().unwrap();
    let last: Vec<f32> = model.encoder.class_attention(images).into_data().try_to_vec().unwrap();
    for (path, map) in [("rollout/000001-001.png", &rollout[..]), ("last/001.png", &last[..16])] {
        let sheet = image::open(at.join(path)).unwrap().to_rgb8();
        // The green channel of viridis is 1 at a map's minimum and 232 at its maximum. The image adds up to 89.
        let green =
            |patch: usize| second_tile(&sheet, patch as u32 % 4 * 32 + 16, patch as u32 / 4 * 32 + 16)[1];
        let by_value = |a: &usize, b: &usize| map[*a].total_cmp(&map[*b]);
        let (least, most) = ((0..16).min_by(by_value).unwrap(), (0..16).max_by(by_value).unwrap());
        assert!(green(least) < 100 && green(most) > 120, "{path}: {} {}", green(least), green(most));
    }
    refused(at, "attention nowhere photos none", &["cannot read nowhere"]);
    refused(at, "attention . nowhere none", &["nowhere"]);
    fs::write(at.join("photos/000.png"), "no image").unwrap();
    refused(at, "attention . photos none", &["000.png"]);
    assert_eq!(mae(at, "attention . photos none --mode first").status.code(), Some(2));
}

#[test]
fn pictures_show_what_a_mask_hides() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    setting(at, 3);
    succeed(at, "reconstruct . photos pictures --mask-ratio 0.5 --strategy grid");
    let mut names: Vec<_> =
        fs::read_dir(at.join("pictures")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["000000-000.png", "000001-001.png", "000002-002.png"]);

    // The left half is white, so the second panel shows it in grey.
    let painted = RgbImage::from_fn(32, 32, |x, _| image::Rgb([if x < 16 { 255 } else { 0 }; 3]));
    painted.save(at.join("mask.png")).unwrap();
    succeed(at, "reconstruct . photos/001.png one --mask mask.png");
    let sheet = image::open(at.join("one/001.png")).unwrap().to_rgb8();
    for y in [4, 60, 124] {
        assert_eq!(second_tile(&sheet, 4, y), [127; 3]);
        assert_eq!(second_tile(&sheet, 60, y), [127; 3]);
        assert_eq!(second_tile(&sheet, 124, y), pixel(1, 15, y / 8));
    }

    let black = RgbImage::new(8, 8);
    black.save(at.join("black.png")).unwrap();
    refused(at, "reconstruct . photos none --mask black.png", &["black.png masks 0 of 16 patches"]);
    black.save(at.join("small.png")).unwrap();
    image::imageops::resize(&black, 2, 2, image::imageops::FilterType::Nearest)
        .save(at.join("small.png"))
        .unwrap();
    refused(at, "reconstruct . photos none --mask small.png", &["small.png is 2 x 2 px", "4 x 4 patches"]);
    succeed(at, "convert . --to timm encoder.safetensors");
    refused(at, "reconstruct encoder.safetensors photos none", &["an encoder alone", "needs a decoder"]);
    refused(at, "reconstruct . photos none --mask-ratio 1.5", &["1.5"]);
    refused(at, "reconstruct . nowhere none", &["nowhere"]);
    assert!(!at.join("none").exists());
}
