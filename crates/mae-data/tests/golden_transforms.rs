//! Crops, resizes and evaluation views against torchvision's on Pillow (`golden/make_transforms.py`).

use std::path::{Path, PathBuf};

use mae_data::{
    Crop, DecodeLimits, EvalTransform, Image, RandomResizedCrop, Transform, decode_file, resized_crop,
    sample_rng,
};
use serde_json::Value;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/transforms").join(name)
}

fn cases(name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(golden(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn image(name: &Value) -> Image {
    decode_file(&golden(name.as_str().unwrap()), &DecodeLimits::default()).unwrap()
}

fn numbers<const N: usize>(value: &Value) -> [usize; N] {
    let list: Vec<usize> = serde_json::from_value(value.clone()).unwrap();
    list.try_into().unwrap()
}

/// Holds our image to Pillow's: at least 99.9% of the bytes within 1, and all within 2.
fn assert_close(case: &Value, ours: &Image) {
    let theirs = image(&case["expected"]);
    assert_eq!((ours.height(), ours.width()), (theirs.height(), theirs.width()), "{case}");
    let apart: Vec<u8> = ours.data().iter().zip(theirs.data()).map(|(a, b)| a.abs_diff(*b)).collect();
    let beyond_one = apart.iter().filter(|&&levels| levels > 1).count();
    assert!(
        beyond_one * 1000 <= apart.len(),
        "{case}: {beyond_one} of {} bytes are off by more than 1",
        apart.len()
    );
    assert!(apart.iter().all(|&levels| levels <= 2), "{case}");
}

#[test]
fn crops_are_pillows() {
    for case in cases("crops.json") {
        let [top, left, height, width] = numbers(&case["crop"]);
        let [out_height, out_width] = numbers(&case["size"]);
        let crop = Crop { top, left, height, width };
        let ours = resized_crop(&image(&case["source"]), crop, (out_height, out_width)).unwrap();
        assert_close(&case, &ours);
    }
}

#[test]
fn evaluation_views_are_pillows() {
    for case in cases("evals.json") {
        let [height, width] = numbers(&case["size"]);
        let short_side = case["short_side"].as_u64().unwrap() as usize;
        let view = EvalTransform::new(short_side, (height, width)).unwrap();
        assert_close(&case, &view.apply(image(&case["source"]), &mut sample_rng(0, 0, 0)));
    }
}

/// Two samples of one distribution differ by more than this, at any point, once in 10,000 times
/// (Kolmogorov-Smirnov: `sqrt(-ln(alpha / 2) / 2)`; fewer still for whole numbers, which tie).
fn bound(ours: usize, theirs: usize) -> f64 {
    const ALPHA: f64 = 1e-4;
    (-(ALPHA / 2.0).ln() / 2.0).sqrt() * (1.0 / ours as f64 + 1.0 / theirs as f64).sqrt()
}

#[test]
fn crops_are_distributed_as_torchvisions() {
    const DRAWS: usize = 20_000;
    for case in cases("draws.json") {
        let range = |name: &str| serde_json::from_value::<(f64, f64)>(case[name].clone()).unwrap();
        let recipe = RandomResizedCrop::new(range("scale"), range("ratio")).unwrap();
        let [height, width] = numbers(&case["image"]);
        let theirs = case["draws"].as_u64().unwrap() as usize;
        let crops: Vec<Crop> =
            (0..DRAWS).map(|i| recipe.draw(height, width, &mut sample_rng(7, 0, i as u64))).collect();
        for crop in &crops {
            assert!(crop.height > 0 && crop.top + crop.height <= height, "{crop:?}");
            assert!(crop.width > 0 && crop.left + crop.width <= width, "{crop:?}");
        }
        for (name, points) in case["points"].as_object().unwrap() {
            let value: fn(&Crop) -> usize = match name.as_str() {
                "top" => |crop| crop.top,
                "left" => |crop| crop.left,
                "height" => |crop| crop.height,
                "width" => |crop| crop.width,
                "area" => |crop| crop.height * crop.width,
                "aspect" => |crop| crop.height * 1000 / crop.width,
                other => panic!("unknown column {other}"),
            };
            for point in points.as_array().unwrap() {
                let [at, theirs_up_to] = numbers(point);
                let ours_up_to = crops.iter().filter(|crop| value(crop) <= at).count();
                let apart = (ours_up_to as f64 / DRAWS as f64 - theirs_up_to as f64 / theirs as f64).abs();
                assert!(
                    apart < bound(DRAWS, theirs),
                    "{} of {height}x{width}: P({name} <= {at}) is {apart} from torchvision's",
                    case["recipe"]
                );
            }
        }
    }
}

#[test]
fn crops_beyond_the_image_are_refused() {
    let image = Image::new(4, 6, 3, vec![0; 72]).unwrap();
    let crop = |top, left, height, width| resized_crop(&image, Crop { top, left, height, width }, (2, 2));
    assert!(crop(0, 0, 4, 6).is_ok());
    for wrong in
        [crop(0, 0, 5, 6), crop(1, 0, 4, 6), crop(0, 6, 1, 1), crop(0, 0, 0, 6), crop(usize::MAX, 0, 2, 2)]
    {
        let message = wrong.unwrap_err().to_string();
        assert!(message.ends_with("at least 1x1 and within the image of 4x6"), "{message}");
    }
    assert!(RandomResizedCrop::new((0.0, 1.0), (0.75, 1.0)).is_err());
    assert!(RandomResizedCrop::new((0.2, 1.0), (0.0, 1.0)).is_err());
    assert!(RandomResizedCrop::new((0.2, f64::NAN), (0.75, 1.0)).is_err());
    assert_eq!(
        RandomResizedCrop::new((0.2, 1.5), (0.75, 1.0)).unwrap_err().to_string(),
        "crop scale is 0.2 to 1.5, but must be 0 < low <= high <= 1"
    );
}
