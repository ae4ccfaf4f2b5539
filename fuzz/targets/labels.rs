//! Tables of classes beside a folder of three images. The first byte chooses the kind.
#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use mae_data::{FolderOptions, ImageFolder, ImageSource, LabelTable};
use mae_fuzz::{file, scratch};

const IMAGES: [&str; 3] = ["a/1.png", "b/1.png", "b/2.jpg"];

fuzz_target!(init: {
    for image in IMAGES {
        let path = scratch().join("images").join(image);
        fs::create_dir_all(path.parent().expect("it has one")).expect("a folder");
        fs::write(path, "").expect("a file");
    }
}, |data: &[u8]| {
    let [kind, text @ ..] = data else { return };
    let path = file(["t.csv", "t.tsv", "t.jsonl"][usize::from(kind % 3)], text);
    let table = match kind & 0x80 {
        0 => LabelTable::read(&path),
        _ => LabelTable::read_lists(&path, ";"),
    };
    let Ok(table) = table else { return };
    let folder = ImageFolder::open(scratch().join("images"), FolderOptions::default()).expect("it was made");
    let Ok(folder) = folder.with_labels(&table) else { return };
    let rows = folder.table_rows().expect("it has a table");
    let labels: Vec<_> = (0..folder.len()).map(|index| folder.labels(index)).collect();
    assert!(labels.iter().flatten().count() <= rows.all - rows.without_image);
    // Every class has an image, is on one line, and stands in the table.
    for (label, class) in (0..).zip(folder.class_names()) {
        assert!(labels.iter().flatten().any(|labels| labels.contains(&label)), "{class}");
        assert!(!class.contains(char::is_control) && !class.is_empty());
    }
    // What was found is found again in a table that names it by paths.
    let mut lines = String::new();
    for (image, labels) in IMAGES.iter().zip(&labels) {
        if let Some(labels) = labels {
            let classes: Vec<_> = labels.iter().map(|label| json(&folder.class_names()[*label as usize])).collect();
            lines += &format!("{{\"path\": {image:?}, \"class\": [{}]}}\n", classes.join(","));
        }
    }
    // Lists of one are one class, in whatever they were found.
    let again = LabelTable::read(file("again.jsonl", lines.as_bytes()));
    let Ok(again) = again else { return assert!(labels.iter().flatten().all(Vec::is_empty)) };
    let again = folder.clone().with_labels(&again).expect("its images are there");
    assert_eq!(again.class_names(), folder.class_names());
    assert!((0..folder.len()).all(|index| again.labels(index) == labels[index]));
});

/// A string in JSON.
fn json(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}
