//! Compares the geometry of images and label maps, and hue shifts, with torchvision v2.

use std::path::{Path, PathBuf};

use mae_image::{DecodeLimits, Part, decode_file, decode_labels};
use serde_json::Value;

use super::geometry::Geometry;
use super::hue::shift_hue;
use crate::{AnyImage, Crop, IGNORE, Image, LabelMap};

/// The fill of the borders in `make_segment.py`.
const FILL: [f64; 3] = [124.0, 116.0, 104.0];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/segment").join(name)
}

fn json(name: &str) -> Vec<Value> {
    serde_json::from_str(&std::fs::read_to_string(path(name)).unwrap()).unwrap()
}

fn picture(name: &str) -> Image {
    decode_file(path(name), &DecodeLimits::default()).unwrap()
}

/// A label map from a golden file, in which 255 is ignored.
fn map(name: &str) -> LabelMap {
    let image = decode_labels(path(name), &DecodeLimits::default()).unwrap().into_u8().unwrap();
    assert_eq!(image.channels(), 1);
    let (height, width) = (image.height(), image.width());
    let label = |value| if value == 255 { IGNORE } else { u16::from(value) };
    LabelMap::new(height, width, image.into_data().into_iter().map(label).collect()).unwrap()
}

fn numbers(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|number| number.as_u64().unwrap() as usize).collect()
}

/// Each golden case: its number, source and geometry.
fn cases() -> Vec<(usize, String, Geometry)> {
    let case = |(at, case): (usize, &Value)| {
        let source = case["source"].as_str().unwrap().to_owned();
        let [resized, crop, size] = ["resized", "crop", "size"].map(|key| numbers(&case[key]));
        let crop = Crop { top: crop[0], left: crop[1], height: crop[2], width: crop[3] };
        let [mirrored, upside_down] = ["mirrored", "upside_down"].map(|key| case[key].as_bool().unwrap());
        let side = map(&format!("{source}-map.png")).size();
        let geometry = Geometry::new(side, (resized[0], resized[1]), (size[0], size[1])).cropped(crop);
        (at, source, geometry.turned(mirrored, upside_down, case["quarters"].as_u64().unwrap()))
    };
    json("cases.json").iter().enumerate().map(case).collect()
}

#[test]
fn images_and_label_maps_are_those_of_torchvision() {
    let cases = cases();
    assert_eq!(cases.len(), 14);
    for (at, source, geometry) in cases {
        let whole = Part::whole(picture(&format!("{source}.png")));
        let image = geometry.bordered(geometry.shown(&whole), &FILL);
        assert_eq!(image, picture(&format!("{at:02}.png")).into(), "image {at}");
        let seen = geometry.bordered_map(geometry.shown_map(&map(&format!("{source}-map.png"))));
        assert_eq!(seen, map(&format!("{at:02}-map.png")), "label map {at}");
    }
}

#[test]
fn floats_are_those_of_pytorch() {
    let mut compared = 0;
    for (at, source, geometry) in cases() {
        let expected = path(&format!("{at:02}.npy"));
        if !expected.is_file() {
            continue;
        }
        let rgb = picture(&format!("{source}.png"));
        let pixels = rgb.data().as_chunks::<3>().0.iter();
        let floats =
            pixels.flat_map(|[red, green, _]| [red, green].map(|byte| f32::from(*byte) * 3.7 - 200.0));
        let image = Image::new(rgb.height(), rgb.width(), 2, floats.collect()).unwrap();
        let image = geometry.bordered(geometry.shown(&Part::whole(image)), &FILL[..2]);
        let format = "f32x2".parse().unwrap();
        let expected = mae_image::Encoded::read(expected, format, &DecodeLimits::default()).unwrap();
        let (AnyImage::F32(image), AnyImage::F32(expected)) = (image, expected.decode().unwrap()) else {
            panic!("another type");
        };
        assert_eq!((image.height(), image.width()), (expected.height(), expected.width()));
        // PyTorch sums in single precision.
        let apart = image.data().iter().zip(expected.data()).map(|(one, other)| (one - other).abs());
        let most = apart.fold(0.0, f32::max);
        assert!(most < 1e-3, "floats {at}: {most}");
        compared += 1;
    }
    assert_eq!(compared, 4);
}

#[test]
fn hues_are_those_of_torchvision() {
    for (at, hue) in json("hues.json").iter().enumerate() {
        let mut colours = picture("colours.png");
        shift_hue(&mut colours, hue.as_str().unwrap().parse().unwrap());
        assert_eq!(colours, picture(&format!("hue-{at}.png")), "a turn by {hue}");
    }
}

#[test]
fn a_part_with_the_pixels_that_are_seen_is_as_good_as_the_whole() {
    for (at, source, geometry) in cases() {
        let whole = picture(&format!("{source}.png"));
        let Crop { top, left, height, width } = geometry.visible();
        let rows = whole.data().chunks(3 * whole.width()).skip(top).take(height);
        let data = rows.flat_map(|row| &row[3 * left..][..3 * width]).copied().collect();
        let part = Part { pixels: Image::new(height, width, 3, data).unwrap().into(), top, left };
        assert_eq!(geometry.shown(&part), geometry.shown(&Part::whole(whole)), "case {at}");
    }
}
