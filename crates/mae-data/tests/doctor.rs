//! Tests the doctor on folders with known content.

use std::path::Path;

use image::{Rgb, RgbImage};
use mae_data::{
    ClassCount, DataReport, DataWarning, Doctor, DuplicateGroup, FolderOptions, ImageFolder, LabelTable,
    Spread,
};

/// An image of noise that differs for every seed.
fn noise(height: u32, width: u32, seed: u32) -> RgbImage {
    let mut state = seed.wrapping_mul(0x9E37_79B9).wrapping_add(1);
    RgbImage::from_fn(width, height, |_, _| {
        Rgb(std::array::from_fn(|channel| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // The channels differ in mean and deviation.
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
        "warning         1 file(s) have no label, but others have one",
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
    assert!(
        expected.to_string().contains("give its table as --labels, with --label-separator '|'"),
        "{expected}"
    );
    assert_eq!(warnings(LabelTable::read(&table).unwrap()), [expected]);
    assert_eq!(warnings(LabelTable::read_lists(&table, "|").unwrap()), []);
}

/// 2 classes with 24 and 2 files, one loose file, an empty folder, 2 groups of duplicates, and 2 unreadable files.
fn sick_folder(root: &Path) -> Vec<RgbImage> {
    let mut images: Vec<_> = (0..20).map(|seed| noise(16 + seed, 20, seed)).collect();
    for (seed, image) in images.iter().enumerate() {
        save(root, &format!("cats/{seed:02}.png"), image);
    }
    // The same pixels: in another format and class, and as copies.
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
        "warning         2 file(s), 7.4%, cannot be read: by default training accepts at most 5.0%\n",
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
