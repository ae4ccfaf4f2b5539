//! Compares crops, resizes and evaluation views with torchvision's on Pillow (`golden/make_transforms.py`).

use std::path::{Path, PathBuf};

use mae_data::{
    AnyImage, Crop, DecodeLimits, Encoded, EvalTransform, Fit, Image, PixelFormat, PixelType,
    RandomResizedCrop, TrainTransform, Transform, decode_file, resized_crop, sample_rng,
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
    decode_file(golden(name.as_str().unwrap()), &DecodeLimits::default()).unwrap()
}

fn numbers<const N: usize>(value: &Value) -> [usize; N] {
    let list: Vec<usize> = serde_json::from_value(value.clone()).unwrap();
    list.try_into().unwrap()
}

/// Asserts that our image is close to Pillow's: at least 99.9% of the bytes within 1, and all within 2.
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

/// Asserts that `transform` gives Pillow's bytes for a case: as greyscale, as RGB and with a fourth channel.
/// `make_transforms.py` checks that Pillow resizes all bands alike.
fn assert_equal(case: &Value, transform: impl Fn(Image) -> Image) {
    for channels in [1, 3, 4] {
        let [source, theirs] =
            ["source", "expected"].map(|name| with_channels(channels, &image(&case[name])));
        let ours = transform(source);
        assert_eq!((ours.height(), ours.width()), (theirs.height(), theirs.width()), "{case}");
        let apart = ours.data().iter().zip(theirs.data()).filter(|(a, b)| a != b).count();
        assert_eq!(apart, 0, "{case} of {channels} channels: bytes apart, of {}", theirs.data().len());
    }
}

/// The green channel, converted to floats as in `make_transforms.py`, in each of two channels.
fn floats(rgb: &Image) -> Image<f32> {
    let green = rgb.data().chunks_exact(3).map(|pixel| f32::from(pixel[1]) * 137.77 - 9000.0);
    Image::new(rgb.height(), rgb.width(), 2, green.flat_map(|number| [number; 2]).collect()).unwrap()
}

/// Asserts that `transform` gives the values of Pillow's mode F for a case with floats. They must be equal to the bit,
/// or to the last bit if the filter uses sines, which the system's maths library computes. Returns the number of cases
/// compared.
fn assert_equal_floats(case: &Value, transform: impl Fn(AnyImage) -> AnyImage) -> usize {
    let Some(name) = case["floats"].as_str() else { return 0 };
    let one = PixelFormat::Stored { pixel_type: PixelType::F32, channels: 1 };
    let theirs = Encoded::read(golden(name), one, &DecodeLimits::default()).unwrap().decode().unwrap();
    let ours = transform(floats(&image(&case["source"])).into());
    let (AnyImage::F32(ours), AnyImage::F32(theirs)) = (ours, theirs) else { panic!("another type") };
    assert_eq!((ours.height(), ours.width()), (theirs.height(), theirs.width()), "{case}");
    let sines = ["hamming", "lanczos"].iter().any(|filter| case["filter"] == *filter);
    for (at, (ours, theirs)) in ours.data().chunks_exact(2).zip(theirs.data()).enumerate() {
        let apart = if sines { theirs.abs() * f32::EPSILON } else { 0.0 };
        assert!(
            ours.iter().all(|ours| (ours - theirs).abs() <= apart),
            "{case}: pixel {at}: {ours:?}, {theirs}"
        );
    }
    1
}

/// Repeats the channels of an RGB image up to `channels`.
fn with_channels(channels: usize, rgb: &Image) -> Image {
    let pixels = rgb.data().chunks_exact(3);
    let data = pixels.flat_map(|pixel| pixel.iter().cycle().take(channels)).copied().collect();
    Image::new(rgb.height(), rgb.width(), channels, data).unwrap()
}

fn crop_and_size(case: &Value) -> (Crop, (usize, usize)) {
    let [top, left, height, width] = numbers(&case["crop"]);
    let [out_height, out_width] = numbers(&case["size"]);
    (Crop { top, left, height, width }, (out_height, out_width))
}

#[test]
fn crops_are_pillows_to_the_bit() {
    for case in cases("crops.json") {
        let (crop, size) = crop_and_size(&case);
        assert_equal(&case, |image| resized_crop(&image, crop, size).unwrap());
    }
}

#[test]
fn evaluation_views_are_pillows_to_the_bit() {
    let mut floats = 0;
    for case in cases("evals.json") {
        let [height, width] = numbers(&case["size"]);
        let fitted: [usize; 2] = numbers(&case["fitted"]);
        let fit = match case["mode"].as_str() {
            Some("squash") => Fit::Squash(fitted.into()),
            _ => Fit::Cover(fitted.into()),
        };
        let filter = serde_json::from_value(case["filter"].clone()).unwrap();
        let view = EvalTransform::resized(fit, filter, (height, width)).unwrap();
        let apply = |image| view.apply(image, &mut sample_rng(0, 0, 0));
        assert_equal(&case, |image| apply(image.into()).into_u8().unwrap());
        floats += assert_equal_floats(&case, apply);
    }
    assert!(floats > 13, "{floats} cases of floats");
}

#[test]
fn training_views_are_pillows_to_rounding_and_of_floats_to_the_bit() {
    let mut floats = 0;
    for case in cases("crops.json") {
        let (crop, size) = crop_and_size(&case);
        let source = image(&case["source"]);
        // A random crop with a single outcome: all of the part that was cut out before.
        let cut = resized_crop(&source, crop, (crop.height, crop.width)).unwrap();
        let aspect = crop.width as f64 / crop.height as f64;
        let whole = RandomResizedCrop::new((1.0, 1.0), (aspect, aspect)).unwrap();
        let rng = || sample_rng(0, 0, 0);
        assert_eq!(whole.draw(crop.height, crop.width, &mut rng()), Crop { top: 0, left: 0, ..crop });
        let view = TrainTransform::new(size, whole).unwrap().with_flip(false);
        assert_close(&case, &view.apply(cut.into(), &mut rng()).into_u8().unwrap());
        floats += assert_equal_floats(&case, |image| {
            let AnyImage::F32(image) = image else { unreachable!("it is of floats") };
            let rows = image.data().chunks_exact(2 * image.width()).skip(crop.top).take(crop.height);
            let cut = rows.flat_map(|row| &row[2 * crop.left..][..2 * crop.width]).copied().collect();
            view.apply(Image::new(crop.height, crop.width, 2, cut).unwrap().into(), &mut rng())
        });
    }
    assert!(floats > 10, "{floats} cases of floats");
}

/// The distance between two samples of one distribution that is exceeded at any point with a probability of 1 in 10,000
/// (Kolmogorov-Smirnov: `sqrt(-ln(alpha / 2) / 2)`). For integers, which tie, the probability is even lower.
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
            (0..DRAWS).map(|i| recipe.draw(height, width, &mut sample_rng(7, 0, i))).collect();
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
