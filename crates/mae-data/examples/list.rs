//! Lists the images that a folder or its tar files hold, as JSON: one line each, then what was passed over.
#![allow(clippy::print_stdout, reason = "a command line talks to others")]

use std::error::Error;
use std::path::Path;

use mae_data::{FolderOptions, open_images};
use serde_json::json;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).ok_or("usage: list FOLDER")?;
    let images = match open_images(Path::new(&folder), FolderOptions::default()) {
        Ok(images) => images,
        Err(error) => {
            let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            println!("{}", json!({ "error": format!("{error}{cause}") }));
            return Ok(());
        }
    };
    for index in 0..images.len() {
        let first = images
            .load(index)
            .and_then(|image| Ok(image.into_u8()?))
            .map(|image| image.data()[0])
            .map_err(|error| error.to_string());
        let label = images.label(index);
        println!("{}", json!({ "name": images.name(index), "label": label, "first": first.ok() }));
    }
    println!("{}", json!({ "classes": images.class_names(), "passed_over": images.passed_over() }));
    Ok(())
}
