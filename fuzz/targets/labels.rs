//! Tables of classes for a folder of three images. The first byte chooses the file format.
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
    // Every class has an image, and a name that is neither empty nor longer than one line.
    for (label, class) in (0..).zip(folder.class_names()) {
        assert!(labels.iter().flatten().any(|labels| labels.contains(&label)), "{class}");
        assert!(!class.contains(char::is_control) && !class.is_empty());
    }
    // A table that lists the found labels by path gives the same labels.
    let mut lines = String::new();
    for (image, labels) in IMAGES.iter().zip(&labels) {
        if let Some(labels) = labels {
            let classes: Vec<_> = labels.iter().map(|label| json(&folder.class_names()[*label as usize])).collect();
            lines += &format!("{{\"path\": {image:?}, \"class\": [{}]}}\n", classes.join(","));
        }
    }
    // A list of one class equals that class, however the first table wrote it.
    let again = LabelTable::read(file("again.jsonl", lines.as_bytes()));
    let Ok(again) = again else { return assert!(labels.iter().flatten().all(Vec::is_empty)) };
    let again = folder.clone().with_labels(&again).expect("its images are there");
    assert_eq!(again.class_names(), folder.class_names());
    assert!((0..folder.len()).all(|index| again.labels(index) == labels[index]));
});

/// Writes a string as JSON.
fn json(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}
