//! Lists the images of a folder, packed or not, or of a table, as JSON: one line per image, then what was skipped.
#![allow(clippy::print_stdout, reason = "a command line talks to others")]

use std::error::Error;
use std::path::Path;

use mae_data::{FolderOptions, open_images};
use serde_json::json;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).ok_or("usage: list FOLDER|TABLE")?;
    let images = match open_images(Path::new(&folder), FolderOptions::default()) {
        Ok(images) => images,
        Err(error) => {
            let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            println!("{}", json!({ "error": format!("{error}{cause}") }));
            return Ok(());
        }
    };
    for index in 0..images.len() {
        let image = images.load(index).and_then(|image| Ok(image.into_u8()?)).ok();
        let first = image.as_ref().map(|image| image.data()[0]);
        // A sum weighted by position, which distinguishes permutations of the same bytes.
        let sum = image.map(|image| {
            image.data().iter().zip(1_u64..).map(|(byte, place)| place * u64::from(*byte)).sum::<u64>()
        });
        let (name, label, labels) = (images.name(index), images.label(index), images.labels(index));
        println!("{}", json!({ "name": name, "label": label, "labels": labels, "first": first, "sum": sum }));
    }
    println!("{}", json!({ "classes": images.class_names(), "passed_over": images.passed_over() }));
    Ok(())
}
