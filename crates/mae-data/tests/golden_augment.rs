//! Compares RandAugment's operations and random erasing's rectangles with timm's on Pillow (`golden/make_augment.py`).

use std::collections::HashMap;
use std::path::Path;

use mae_data::{AugmentOp, Crop, Image, RandomErasing, sample_rng};
use serde_json::Value;

const FILL: [u8; 3] = [124, 116, 104];

fn golden(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/augment").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn bytes(hex: &Value) -> Vec<u8> {
    let digits = hex.as_str().unwrap().as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn images() -> HashMap<String, Image> {
    let image = |(name, described): (&String, &Value)| {
        let [height, width, channels]: [usize; 3] =
            serde_json::from_value(described["shape"].clone()).unwrap();
        (name.clone(), Image::new(height, width, channels, bytes(&described["bytes"])).unwrap())
    };
    golden("images.json").as_object().unwrap().iter().map(image).collect()
}

/// Creates an operation from timm's name for it.
fn op(name: &str, argument: &Value) -> AugmentOp {
    let argument = argument.as_str().unwrap();
    let (whole, number) = (|| argument.parse().unwrap(), || argument.parse().unwrap());
    match name {
        "AutoContrast" => AugmentOp::AutoContrast,
        "Equalize" => AugmentOp::Equalize,
        "Invert" => AugmentOp::Invert,
        "Rotate" => AugmentOp::Rotate(number()),
        "PosterizeIncreasing" => AugmentOp::Posterize(whole()),
        "SolarizeIncreasing" => AugmentOp::Solarize(whole()),
        "SolarizeAdd" => AugmentOp::SolarizeAdd(whole()),
        "ColorIncreasing" => AugmentOp::Color(number()),
        "ContrastIncreasing" => AugmentOp::Contrast(number()),
        "BrightnessIncreasing" => AugmentOp::Brightness(number()),
        "SharpnessIncreasing" => AugmentOp::Sharpness(number()),
        "ShearX" => AugmentOp::ShearX(number()),
        "ShearY" => AugmentOp::ShearY(number()),
        "TranslateXRel" => AugmentOp::TranslateXRel(number()),
        "TranslateYRel" => AugmentOp::TranslateYRel(number()),
        other => panic!("unknown operation {other}"),
    }
}

/// The largest allowed difference from Pillow's bytes. It is 1 for affine operations: if the last bit of a sine or of a
/// sum in double precision differs, a value may be truncated to the next integer. For the others it is 0.
fn bound(op: AugmentOp) -> u8 {
    use AugmentOp::{Rotate, ShearX, ShearY, TranslateXRel, TranslateYRel};
    let affine = matches!(op, Rotate(_) | ShearX(_) | ShearY(_) | TranslateXRel(_) | TranslateYRel(_));
    u8::from(affine)
}

#[test]
fn operations_are_pillows() {
    let (images, cases) = (images(), golden("ops.json"));
    let mut changed = 0;
    for case in cases.as_array().unwrap() {
        let image = &images[case["image"].as_str().unwrap()];
        let (op, theirs) = (op(case["op"].as_str().unwrap(), &case["argument"]), bytes(&case["expected"]));
        let ours = op.apply(image.clone(), FILL);
        let shape = |image: &Image| (image.height(), image.width(), image.channels());
        assert_eq!(shape(&ours), shape(image));
        let apart = ours.data().iter().zip(&theirs).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(apart <= bound(op), "{op:?} of {}: off by {apart}", case["image"]);
        // Even where differences are allowed, they are rare.
        let other = ours.data().iter().zip(&theirs).filter(|(a, b)| a != b).count();
        assert!(other * 100 <= theirs.len(), "{op:?} of {}: {other} bytes are others", case["image"]);
        changed += usize::from(theirs != image.data());
    }
    // Most of the cases change the image.
    assert!(changed * 10 > cases.as_array().unwrap().len() * 7, "{changed}");
}

#[test]
fn arguments_are_timms() {
    for case in golden("levels.json").as_array().unwrap() {
        let ours = AugmentOp::all(case["magnitude"].as_f64().unwrap(), case["negative"].as_bool().unwrap());
        let theirs = case["ops"].as_array().unwrap().iter();
        let theirs: Vec<_> = theirs.map(|named| op(named[0].as_str().unwrap(), &named[1])).collect();
        assert_eq!(ours.as_slice(), theirs, "{case}");
    }
}

/// The distance between two samples of one distribution that is exceeded at any point with a probability of 1 in 10,000
/// (Kolmogorov-Smirnov: `sqrt(-ln(alpha / 2) / 2)`). For integers, which tie, the probability is even lower.
fn apart_by_chance(ours: usize, theirs: usize) -> f64 {
    const ALPHA: f64 = 1e-4;
    (-(ALPHA / 2.0).ln() / 2.0).sqrt() * (1.0 / ours as f64 + 1.0 / theirs as f64).sqrt()
}

#[test]
fn erased_rectangles_are_distributed_as_timms() {
    const DRAWS: usize = 20_000;
    let erasing = RandomErasing::new(1.0, [0.5; 3], [0.25; 3]).unwrap();
    for case in golden("erased.json").as_array().unwrap() {
        let [height, width]: [usize; 2] = serde_json::from_value(case["image"].clone()).unwrap();
        let draw = |i| erasing.draw(height, width, &mut sample_rng(7, 0, i));
        let ours: Vec<Crop> = (0..DRAWS).filter_map(draw).collect();
        let draws = case["draws"].as_u64().unwrap() as usize;
        let theirs = case["erased"].as_u64().unwrap() as usize;

        let rates = (ours.len() as f64 / DRAWS as f64, theirs as f64 / draws as f64);
        let apart = (rates.0 - rates.1).abs();
        assert!(apart < apart_by_chance(DRAWS, draws), "{rates:?} of {height}x{width} are erased");
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
                let [at, theirs_up_to]: [usize; 2] = serde_json::from_value(point.clone()).unwrap();
                let ours_up_to = ours.iter().filter(|crop| value(crop) <= at).count();
                let (our_share, their_share) =
                    (ours_up_to as f64 / ours.len() as f64, theirs_up_to as f64 / theirs as f64);
                let apart = (our_share - their_share).abs();
                assert!(
                    apart < apart_by_chance(ours.len(), theirs),
                    "P({name} <= {at}) of {height}x{width} is {apart} from timm's"
                );
            }
        }
    }
}
