//! What the doctor says of folders whose content is known.

use std::path::Path;
use std::sync::Arc;

use image::{ImageBuffer, Luma, LumaA, Rgb, RgbImage, Rgba, RgbaImage};
use mae_data::{
    ClassCount, DataReport, DataWarning, Doctor, DuplicateGroup, FolderOptions, ImageFolder, ImageSource,
    LabelTable, PixelFormat, SaturatedChannel, Spread, Subset, data_warnings,
};

/// An image of noise: a different one for every seed.
fn noise(height: u32, width: u32, seed: u32) -> RgbImage {
    let mut state = seed.wrapping_mul(0x9E37_79B9).wrapping_add(1);
    RgbImage::from_fn(width, height, |_, _| {
        Rgb(std::array::from_fn(|channel| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Channels of different mean and deviation.
            (state >> 24) as u8 >> channel
        }))
    })
}

fn save(root: &Path, name: &str, image: &RgbImage) {
    let path = root.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    image.save(path).unwrap();
}

fn examine(root: &Path, threads: usize) -> DataReport {
    let folder = ImageFolder::open(root, FolderOptions::default()).unwrap();
    let mut calls = Vec::new();
    let doctor = Doctor { threads, image_size: Some((16, 20)) };
    let report = doctor.examine(&folder, |done, total| calls.push((done, total))).unwrap();
    assert_eq!(calls, (1..=report.files).map(|done| (done, report.files)).collect::<Vec<_>>());
    report
}

#[test]
fn parts_tables_and_grey_images_are_named() {
    let at = tempfile::tempdir().unwrap();
    let grey = |seed: u8| RgbImage::from_pixel(20, 16, Rgb([seed; 3]));
    for (seed, name) in ["train/1.png", "test/2.png", "test/3.png"].iter().enumerate() {
        save(at.path(), name, &grey(seed as u8));
    }
    std::fs::write(at.path().join("labels.csv"), "path,class\n1,a\n2.png,b\nnone.png,b\n").unwrap();
    std::fs::write(at.path().join("notes.txt"), "").unwrap();
    let report = examine(at.path(), 2);
    assert_eq!((report.grey, report.landscape, report.portrait), (3, 3, 0));
    let names = vec!["test".to_owned(), "train".into()];
    let expected = [
        DataWarning::PartsAsClasses { names },
        DataWarning::UnusedTables { names: vec!["labels.csv".into()] },
        DataWarning::Grey,
    ];
    assert_eq!(report.warnings, expected);

    let folder = ImageFolder::open(at.path(), FolderOptions::default()).unwrap();
    let table = LabelTable::read(at.path().join("labels.csv")).unwrap();
    let folder = folder.with_labels(&table).unwrap();
    let report = Doctor::default().examine(&folder, |_, _| ()).unwrap();
    let counts: Vec<_> = report.classes.iter().map(|class| (class.name.as_str(), class.files)).collect();
    assert_eq!((counts, report.unlabelled), (vec![("a", 1), ("b", 1)], 1));
    let text = report.to_string();
    for line in [
        "table           3 rows, 2 of which name an image here",
        "orientation     3 landscape, 0 portrait, 0 square",
        "grey            3 of 3 images",
        "warning         1 of 3 rows in the table of classes name no image in the folder",
        "warning         1 file(s) have no label, beside others that have one",
    ] {
        assert!(text.contains(line), "{text}");
    }
    assert!(!text.contains("labels.csv") && !text.contains("train"), "{text}");
}

#[test]
fn a_class_that_lists_others_is_named_until_the_table_is_read_as_lists() {
    let at = tempfile::tempdir().unwrap();
    let images = ["1.png", "2.png", "3.png", "4.png"];
    images.iter().for_each(|name| save(at.path(), name, &RgbImage::from_pixel(20, 16, Rgb([9, 8, 7]))));
    let table = at.path().join("labels.csv");
    std::fs::write(&table, "path,class\n1,red panda\n2,cat\n3,dog\n4,cat|dog\n").unwrap();
    let warnings = |table: LabelTable| {
        let folder = ImageFolder::open(at.path(), FolderOptions::default()).unwrap();
        mae_data::data_warnings(&folder.with_labels(&table).unwrap(), (16, 16))
    };
    let expected = DataWarning::ListsAsClasses { name: "cat|dog".into(), separator: '|' };
    assert!(expected.to_string().contains("give --label-separator '|'"), "{expected}");
    assert_eq!(warnings(LabelTable::read(&table).unwrap()), [expected]);
    assert_eq!(warnings(LabelTable::read_lists(&table, "|").unwrap()), []);
}

/// 2 classes with 24 files and 2, one loose file, an empty folder, 2 groups of duplicates, 2 unreadable files.
fn sick_folder(root: &Path) -> Vec<RgbImage> {
    let mut images: Vec<_> = (0..20).map(|seed| noise(16 + seed, 20, seed)).collect();
    for (seed, image) in images.iter().enumerate() {
        save(root, &format!("cats/{seed:02}.png"), image);
    }
    // The same pixels: in another format and under another class, and as a copy.
    save(root, "dogs/same.bmp", &images[3]);
    save(root, "cats/deep/copy.png", &images[5]);
    save(root, "cats/deep/copy-2.png", &images[5]);
    let (small, loose) = (noise(15, 300, 90), noise(16, 20, 91));
    save(root, "dogs/small.png", &small);
    save(root, "loose.tiff", &loose);
    std::fs::create_dir_all(root.join("mice/deeper")).unwrap();
    std::fs::create_dir_all(root.join(".hidden")).unwrap();
    std::fs::write(root.join("mice/notes.txt"), "none yet").unwrap();
    let whole = std::fs::read(root.join("cats/00.png")).unwrap();
    std::fs::write(root.join("cats/cut.png"), &whole[..whole.len() / 2]).unwrap();
    std::fs::write(root.join("cats/text.jpg"), "no image").unwrap();
    images.extend([images[3].clone(), images[5].clone(), images[5].clone(), small, loose]);
    images
}

#[test]
fn finds_everything_that_is_wrong_with_a_folder() {
    let root = tempfile::tempdir().unwrap();
    let images = sick_folder(root.path());
    let report = examine(root.path(), 2);

    assert_eq!((report.files, report.readable, report.unlabelled), (27, 25, 1));
    let class = |name: &str, files| ClassCount { name: name.into(), files };
    assert_eq!(report.classes, [class("cats", 24), class("dogs", 2)]);
    assert_eq!(report.empty_folders, ["mice"]);
    assert_eq!(report.formats, [("BMP", 1), ("PNG", 23), ("TIFF", 1)].into());
    let mut heights: Vec<u32> = images.iter().map(RgbImage::height).collect();
    heights.sort_unstable();
    assert_eq!(report.height_px, Some(Spread { min: 15, median: heights[12], max: 35 }));
    assert_eq!(report.width_px, Some(Spread { min: 20, median: 20, max: 300 }));
    assert_eq!(report.smaller.map(|smaller| smaller.images), Some(1));
    let group = |files: &[&str], across_classes| DuplicateGroup {
        files: files.iter().map(|&file| file.into()).collect(),
        across_classes,
    };
    assert_eq!(
        report.duplicates,
        [
            group(&["cats/03.png", "dogs/same.bmp"], true),
            group(&["cats/05.png", "cats/deep/copy-2.png", "cats/deep/copy.png"], false)
        ]
    );
    let unreadable: Vec<_> = report.unreadable.iter().map(|file| (file.index, &file.reason)).collect();
    assert_eq!(unreadable.iter().map(|file| file.0).collect::<Vec<_>>(), [20, 23]);
    assert!(unreadable[0].1.contains("cut.png") && unreadable[1].1.contains("text.jpg"), "{unreadable:?}");
    assert_eq!(
        report.warnings,
        [
            DataWarning::Unlabelled { files: 1 },
            DataWarning::EmptyFolders { names: vec!["mice".into()] },
            DataWarning::Imbalance { most: class("cats", 24), least: class("dogs", 2) },
            DataWarning::Duplicates { copies: 3, groups: 2 },
            DataWarning::DuplicatesAcrossClasses { groups: 1 },
            DataWarning::Unreadable { files: 2, share: 2.0 / 27.0, exceeded: Some(0.05) },
        ]
    );
}

#[test]
fn means_and_deviations_agree_with_a_direct_computation() {
    let root = tempfile::tempdir().unwrap();
    let images = sick_folder(root.path());
    let report = examine(root.path(), 2);
    let pixels: Vec<[f64; 3]> = images
        .iter()
        .flat_map(|image| image.pixels().map(|pixel| pixel.0.map(|v| f64::from(v) / 255.0)))
        .collect();
    for channel in 0..3 {
        let values = || pixels.iter().map(|pixel| pixel[channel]);
        let mean = values().sum::<f64>() / pixels.len() as f64;
        let variance = values().map(|value| (value - mean).powi(2)).sum::<f64>() / pixels.len() as f64;
        assert!((report.mean.as_ref().unwrap()[channel] - mean).abs() < 1e-12);
        assert!((report.std.as_ref().unwrap()[channel] - variance.sqrt()).abs() < 1e-12);
    }
}

#[test]
fn the_number_of_threads_has_no_part_in_the_report() {
    let root = tempfile::tempdir().unwrap();
    sick_folder(root.path());
    let one = examine(root.path(), 1);
    for threads in [2, 5, 64] {
        assert_eq!(examine(root.path(), threads), one, "{threads} threads");
    }
}

#[test]
fn speaks_to_people_and_to_programs() {
    let root = tempfile::tempdir().unwrap();
    sick_folder(root.path());
    let report = examine(root.path(), 2);
    let text = report.to_string();
    for line in [
        "files           27, 25 of them readable\n",
        "classes         2, of 2 to 24 files each\n                cats: 24\n                dogs: 2\n",
        "formats         1 BMP, 23 PNG, 1 TIFF\n",
        "height          15 to 35 px, median ",
        "smaller         1 image(s) than 16x20 px\n",
        "duplicates      2 group(s) of equal images\n                cats/03.png = dogs/same.bmp\n",
        "unreadable      2 file(s)\n",
        "warning         2 file(s), 7.4%, cannot be read: by default training puts up with 5.0%\n",
        "warning         1 group(s) of equal images lie under different classes: labels contradict each other\n",
    ] {
        assert!(text.contains(line), "{line}is not in\n{text}");
    }

    let json: serde_json::Value = serde_json::to_value(&report).unwrap();
    assert_eq!(json["classes"][1]["name"], "dogs");
    assert_eq!(json["formats"]["PNG"], 23);
    assert_eq!(json["smaller"]["size"], serde_json::json!([16, 20]));
    assert_eq!(json["warnings"][1], serde_json::json!({ "kind": "empty_folders", "names": ["mice"] }));
}

/// Examines a folder as what loses nothing of its files.
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
    // The numbers of the first, which lie differently; and those of the second, in another file.
    grey("3.png", vec![3000, 1000]);
    grey("4.png", vec![5000, 7000, 60000, 8000]);
    let alpha: ImageBuffer<LumaA<u16>, _> = ImageBuffer::from_raw(2, 1, vec![1000, 9, 3000, 8]).unwrap();
    alpha.save(root.path().join("5.png")).unwrap();
    noise(3, 2, 1).save(root.path().join("rgb.png")).unwrap();
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
        text.contains("warning         constant over all images, channel(s) 2, 3, 4: normalising"),
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
        save(root.path(), &format!("rgb{seed}.png"), &noise(16, 20, seed));
    }
    let deep: ImageBuffer<Luma<u16>, _> = ImageBuffer::from_fn(4, 4, |x, y| Luma([(1000 * x + y) as u16]));
    for name in ["deep1.png", "deep2.png"] {
        deep.save(root.path().join(name)).unwrap();
    }
    let report = examine_stored(root.path(), None);
    assert_eq!((report.pixels, report.readable), (PixelFormat::Rgb8, 5));
    let text = report.to_string();
    assert!(
        text.contains("2 of 5 files looked at hold more than 8-bit RGB and are converted to it ("),
        "{text}"
    );
    assert!(text.contains("deep1.png is u16x1): --pixels FORMAT"), "{text}");
    // A plan says it too, of a part of the folder as well.
    let source: Arc<dyn ImageSource> =
        Arc::new(ImageFolder::open(root.path(), FolderOptions::default()).unwrap());
    let said = |source: &dyn ImageSource| {
        let warnings = data_warnings(source, (8, 8));
        warnings.into_iter().map(|warning| warning.to_string()).find(|text| text.contains("hold more than"))
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
    // Of 64 x 64 numbers, those beyond 1000 are cut off.
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

#[test]
fn one_class_is_a_folder_one_level_too_high() {
    let root = tempfile::tempdir().unwrap();
    for (seed, name) in ["train/a/1.png", "train/a/2.png", "train/b/1.png"].iter().enumerate() {
        save(root.path(), name, &noise(16, 20, seed as u32));
    }
    let warnings = examine(root.path(), 2).warnings;
    assert_eq!(warnings, [DataWarning::OneClass { name: "train".into(), sub_folders: 2 }]);
    assert_eq!(
        warnings[0].to_string(),
        "all labelled images are of one class, train: if its 2 sub-folders are the classes, name that folder instead"
    );
    assert_eq!(examine(&root.path().join("train"), 2).warnings, []);
}

#[test]
fn a_flat_folder_is_well_without_labels() {
    let root = tempfile::tempdir().unwrap();
    save(root.path(), "1.png", &noise(16, 20, 1));
    let report = examine(root.path(), 2);
    assert_eq!((report.classes.len(), report.unlabelled, report.warnings.len()), (0, 1, 0));
    assert!(report.to_string().contains("classes         none: "));
}

#[test]
fn nothing_readable_is_still_a_report() {
    let root = tempfile::tempdir().unwrap();
    for number in 0..30 {
        std::fs::write(root.path().join(format!("{number}.png")), "").unwrap();
    }
    let report = examine(root.path(), 2);
    assert_eq!((report.readable, report.unreadable.len()), (0, 30));
    assert_eq!((report.height_px, &report.mean, &report.std), (None, &None, &None));
    let text = report.to_string();
    assert_eq!(text.matches("is empty: 0 bytes").count(), 10);
    assert!(text.contains("and 20 more\n") && text.contains("formats         none\n"), "{text}");
}

#[test]
fn refuses_no_threads_and_sizes_of_nothing() {
    let root = tempfile::tempdir().unwrap();
    save(root.path(), "1.png", &noise(16, 20, 1));
    let folder = ImageFolder::open(root.path(), FolderOptions::default()).unwrap();
    let message = |doctor: Doctor| doctor.examine(&folder, |_, _| {}).unwrap_err().to_string();
    let none = Doctor { threads: 0, ..Doctor::default() };
    assert_eq!(message(none), "threads is 0, but must be at least 1");
    let nothing = Doctor { image_size: Some((0, 16)), ..Doctor::default() };
    assert!(message(nothing).starts_with("image size is 0x16"));
}

#[test]
fn lists_are_examined_as_folders_are() {
    let at = tempfile::tempdir().unwrap();
    for (name, seed) in [("a/1.png", 1), ("a/2.png", 2), ("b/3.png", 2), ("b/4.png", 4)] {
        save(at.path(), name, &noise(20, 30, seed));
    }
    std::fs::write(at.path().join("b/5.png"), "no image").unwrap();
    let table = at.path().join("list.csv");
    std::fs::write(&table, "path,class\na/1.png,a\na/2.png,a\nb/3.png,b\nb/4.png,b\nb/5.png,b\n").unwrap();
    let list = mae_data::open_images(&table, FolderOptions::default()).unwrap();
    let doctor = Doctor { image_size: Some((24, 24)), ..Doctor::default() };
    let of_list = doctor.examine_source(list.as_ref(), &table, |_, _| ()).unwrap();
    let folder = ImageFolder::open(at.path(), FolderOptions::default()).unwrap();
    let of_folder = doctor.examine(&folder, |_, _| ()).unwrap();
    assert!(of_folder.warnings.iter().any(|warning| matches!(warning, DataWarning::UnusedTables { .. })));
    let names = |name: &str| mae_data::path_name(at.path().join(name));
    let duplicates =
        vec![DuplicateGroup { files: vec![names("a/2.png"), names("b/3.png")], across_classes: true }];
    assert_eq!(of_list.duplicates, duplicates);
    let mut expected = of_folder.clone();
    expected.root = mae_data::path_name(&table);
    expected.unused_tables.clear();
    expected.warnings.retain(|warning| !matches!(warning, DataWarning::UnusedTables { .. }));
    expected.duplicates = duplicates;
    assert_eq!(of_list, expected);
}
