//! Tests the doctor on pixels other than 8-bit RGB.

use std::path::Path;
use std::sync::Arc;

use image::{ImageBuffer, Luma, LumaA, Rgb, RgbImage, Rgba, RgbaImage};
use mae_data::{
    DataReport, DataWarning, Doctor, FolderOptions, ImageFolder, ImageSource, PixelFormat, SaturatedChannel,
    Subset, data_warnings,
};

/// A colour image that differs for every seed.
fn colours(height: u32, width: u32, seed: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([(x * 7) as u8, (y * 5) as u8, (seed * 3 + x * y) as u8]))
}

/// Examines a folder as `pixels`, or in its files' lossless format.
fn examine_stored(root: &Path, pixels: Option<PixelFormat>) -> DataReport {
    let folder = ImageFolder::open(root, FolderOptions { pixels, ..FolderOptions::default() }).unwrap();
    let examine = |threads| Doctor { threads, image_size: None }.examine(&folder, |_, _| {}).unwrap();
    let report = examine(1);
    assert_eq!(examine(7), report);
    report
}

#[test]
fn deep_grey_images_are_measured_in_their_own_units() {
    let root = tempfile::tempdir().unwrap();
    let grey = |name: &str, numbers: Vec<u16>| {
        let image: ImageBuffer<Luma<u16>, _> =
            ImageBuffer::from_raw(2, numbers.len() as u32 / 2, numbers).unwrap();
        image.save(root.path().join(name)).unwrap();
    };
    grey("1.png", vec![1000, 3000]);
    grey("2.png", vec![5000, 7000, 60000, 8000]);
    // The values of the first file in another order, and those of the second in another file.
    grey("3.png", vec![3000, 1000]);
    grey("4.png", vec![5000, 7000, 60000, 8000]);
    let alpha: ImageBuffer<LumaA<u16>, _> = ImageBuffer::from_raw(2, 1, vec![1000, 9, 3000, 8]).unwrap();
    alpha.save(root.path().join("5.png")).unwrap();
    colours(3, 2, 1).save(root.path().join("rgb.png")).unwrap();
    let report = examine_stored(root.path(), Some("u16x1".parse().unwrap()));

    assert_eq!(report.pixels.to_string(), "u16x1");
    assert_eq!((report.readable, report.grey, report.missing), (5, 0, 0));
    let all = [[1000.0, 3000.0].repeat(3), [5000.0, 7000.0, 60000.0, 8000.0].repeat(2)].concat();
    let mean = all.iter().sum::<f64>() / 14.0;
    let std = (all.iter().map(|number| (number - mean) * (number - mean)).sum::<f64>() / 14.0).sqrt();
    let (found_mean, found_std) = (report.mean.as_ref().unwrap(), report.std.as_ref().unwrap());
    assert!(found_mean.len() == 1 && (found_mean[0] - mean).abs() < 1e-9, "{found_mean:?} {mean}");
    assert!(found_std.len() == 1 && (found_std[0] - std).abs() < 1e-9, "{found_std:?} {std}");
    assert_eq!((&report.min, &report.max), (&Some(vec![1000.0]), &Some(vec![60000.0])));
    let groups: Vec<_> = report.duplicates.iter().map(|group| group.files.join(" = ")).collect();
    assert_eq!(groups, ["1.png = 5.png", "2.png = 4.png"]);
    let reason = &report.unreadable[0].reason;
    assert!(reason.contains("rgb.png is u8x3, but must be u16x1"), "{reason}");

    let text = report.to_string();
    let table = "\
pixels          u16x1
height          1 to 2 px, median 1
width           2 px, median 2
orientation     3 landscape, 0 portrait, 2 square
channels        channel         mean          std          min          max
                      1      12285.7      19626.6         1000        60000
duplicates ";
    assert!(text.contains(table), "{text}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!((&json["pixels"], &json["max"]), (&"u16x1".into(), &serde_json::json!([60000.0])));

    std::fs::remove_file(root.path().join("rgb.png")).unwrap();
    let found = examine_stored(root.path(), None);
    assert_eq!((found.pixels, found.mean, found.readable), (report.pixels, report.mean, 5));
}

#[test]
fn bytes_of_any_number_of_channels_are_divided_by_255() {
    let root = tempfile::tempdir().unwrap();
    RgbaImage::from_fn(4, 2, |x, _| Rgba([255 * (x as u8 % 2), 51, 0, 102]))
        .save(root.path().join("1.png"))
        .unwrap();
    let report = examine_stored(root.path(), Some("u8x4".parse().unwrap()));
    assert_eq!(report.mean, Some(vec![0.5, 0.2, 0.0, 0.4]));
    assert_eq!(report.std, Some(vec![0.5, 0.0, 0.0, 0.0]));
    assert_eq!(report.max, Some(vec![1.0, 0.2, 0.0, 0.4]));
    assert_eq!(report.warnings, [DataWarning::ConstantChannels { channels: vec![2, 3, 4] }]);
    let text = report.to_string();
    assert!(text.contains("pixels          u8x4; numbers below are divided by 255\n"), "{text}");
    assert!(
        text.contains("warning         channel(s) 2, 3, 4 are constant over all images: normalising"),
        "{text}"
    );
}

#[test]
fn numbers_that_are_not_finite_are_counted_and_left_out() {
    let root = tempfile::tempdir().unwrap();
    let save = |name: &str, numbers: [f32; 6]| {
        let image: ImageBuffer<Rgb<f32>, _> = ImageBuffer::from_raw(2, 1, numbers.to_vec()).unwrap();
        image.save(root.path().join(name)).unwrap();
    };
    save("1.tif", [0.5, f32::NAN, 0.1, 1.5, f32::INFINITY, 0.1]);
    save("2.tif", [-1.0, f32::NEG_INFINITY, 0.1, 3.0, f32::NAN, 0.1]);
    let report = examine_stored(root.path(), Some("f32x3".parse().unwrap()));
    assert_eq!((report.readable, report.missing), (2, 4), "{report}");
    assert_eq!(report.mean.as_ref().unwrap()[..2], [1.0, 0.0]);
    assert_eq!(report.min.as_ref().unwrap()[..2], [-1.0, f64::INFINITY]);
    assert_eq!(
        report.warnings,
        [
            DataWarning::NotFinite { numbers: 4, share: 1.0 / 3.0 },
            DataWarning::ConstantChannels { channels: vec![2, 3] }
        ]
    );
    let text = report.to_string();
    assert!(text.contains("missing         4 number(s) are not finite\n"), "{text}");
    assert!(text.contains("warning         4 number(s), 33.33%, are not finite"), "{text}");
    assert!(text.contains("2            0            0         none         none\n"), "{text}");
    assert!(serde_json::to_value(&report).unwrap()["min"][1].is_null());
}

#[test]
fn files_that_lose_something_are_named() {
    let root = tempfile::tempdir().unwrap();
    for seed in 0..3 {
        colours(16, 20, seed).save(root.path().join(format!("rgb{seed}.png"))).unwrap();
    }
    let deep: ImageBuffer<Luma<u16>, _> = ImageBuffer::from_fn(4, 4, |x, y| Luma([(1000 * x + y) as u16]));
    for name in ["deep1.png", "deep2.png"] {
        deep.save(root.path().join(name)).unwrap();
    }
    let report = examine_stored(root.path(), None);
    assert_eq!((report.pixels, report.readable), (PixelFormat::Rgb8, 5));
    let text = report.to_string();
    assert!(
        text.contains("2 of 5 files checked have more than 8-bit RGB and are converted to it ("),
        "{text}"
    );
    assert!(text.contains("deep1.png is u16x1): --pixels FORMAT"), "{text}");
    // `data_warnings` gives the same warning, but only about the images of its source.
    let source: Arc<dyn ImageSource> =
        Arc::new(ImageFolder::open(root.path(), FolderOptions::default()).unwrap());
    let said = |source: &dyn ImageSource| {
        let warnings = data_warnings(source, (8, 8));
        warnings.into_iter().map(|warning| warning.to_string()).find(|text| text.contains("have more than"))
    };
    assert!(said(source.as_ref()).unwrap().starts_with("2 of 5 files"));
    assert_eq!(said(&Subset::new(source, vec![2, 3, 4]).unwrap()), None);
}

#[test]
fn numbers_that_are_cut_off_and_scenes_of_other_sizes_are_named() {
    let root = tempfile::tempdir().unwrap();
    let save = |name: &str, side: u32, brightest: u32| {
        let image: ImageBuffer<Luma<u16>, _> =
            ImageBuffer::from_fn(side, side, |x, y| Luma([(7 * x + 11 * y).min(brightest) as u16]));
        image.save(root.path().join(name)).unwrap();
    };
    save("1.png", 64, 4095);
    save("2.png", 64, 4095);
    assert_eq!(examine_stored(root.path(), None).warnings.len(), 1, "the two are equal");
    // Of 64 × 64 values, those above 1000 are clipped.
    save("2.png", 64, 1000);
    save("1.png", 64, 1000 - 1);
    let DataWarning::Saturated { channels } = &examine_stored(root.path(), None).warnings[0] else {
        panic!("another warning")
    };
    let beyond =
        (0..64).flat_map(|x| (0..64).map(move |y| 7 * x + 11 * y)).filter(|number| *number >= 1000).count();
    let share = beyond as f64 / (2.0 * 64.0 * 64.0);
    assert_eq!(channels[..], [SaturatedChannel { channel: 1, max: 1000.0, share }]);
    save("2.png", 2048, 65535);
    let report = examine_stored(root.path(), None);
    let scenes = DataWarning::MixedSizes { smallest: (64, 64), largest: (2048, 2048) };
    assert!(report.warnings.contains(&scenes), "{report}");
}
