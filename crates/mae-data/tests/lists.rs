//! Tables that name image files, opened as data sets.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use image::RgbImage;
use mae_data::{FolderOptions, ImageSource, PixelFormat, open_images, path_name};

/// Writes `a/one.png`, `two.png` and `three.png` below `images`, each of one colour, and a table beside that folder.
/// Opens the table.
fn opened(at: &Path, name: &str, text: &str) -> Result<Arc<dyn ImageSource>, String> {
    fs::create_dir_all(at.join("images/a")).unwrap();
    for (number, image) in ["a/one.png", "two.png", "three.png"].into_iter().enumerate() {
        RgbImage::from_pixel(3, 2, image::Rgb([number as u8; 3]))
            .save(at.join("images").join(image))
            .unwrap();
    }
    fs::write(at.join(name), text).unwrap();
    open_images(at.join(name), FolderOptions::default()).map_err(|error| error.to_string())
}

/// The first byte and the class names of each image.
fn read(images: &dyn ImageSource) -> Vec<(u8, Option<Vec<&str>>)> {
    let class = |label: u32| images.class_names()[label as usize].as_str();
    let labels = |index| Some(images.labels(index)?.into_iter().map(class).collect());
    let first = |index| images.load(index).unwrap().into_u8().unwrap().data()[0];
    (0..images.len()).map(|index| (first(index), labels(index))).collect()
}

#[test]
fn images_come_in_the_order_of_the_rows() {
    let at = tempfile::tempdir().unwrap();
    let at = at.path();
    let (absolute, cat, dog) = (at.join("images/two.png").display().to_string(), vec!["cat"], vec!["dog"]);
    for (name, text) in [
        ("a.csv", "path,class\nimages/two.png,dog\nimages/a/one.png,cat\n".to_owned()),
        ("b.tsv", format!("LABEL\tpath\ndog\t{absolute}\ncat\t./images/a/../a/one.png\n")),
        // The same image again, with and without its class.
        (
            "c.csv",
            "images/two.png,dog\nimages/a/one.png,\nimages/a/one.png,cat\nimages/../images/two.png,dog\n"
                .into(),
        ),
        (
            "d.jsonl",
            "{\"file_name\": \"images/two.png\", \"label\": \"dog\", \"width\": 3}\n\
             {\"label\": \"cat\", \"file_name\": \"images/a/one.png\"}\n"
                .into(),
        ),
    ] {
        let images = opened(at, name, &text).unwrap();
        assert_eq!(read(&*images), [(1, Some(dog.clone())), (0, Some(cat.clone()))], "{name}");
        assert_eq!(
            (images.class_names(), images.pixels()),
            (&["cat", "dog"].map(str::to_owned)[..], PixelFormat::Rgb8)
        );
        assert_eq!(images.name(0), path_name(at.join("images/two.png")));
        assert_eq!(images.bytes(0), Some(fs::metadata(at.join("images/two.png")).unwrap().len()));
        assert_eq!((images.name(2), images.bytes(2), images.load(2).is_err()), (String::new(), None, true));
    }
}

#[test]
fn a_list_may_do_without_classes() {
    let at = tempfile::tempdir().unwrap();
    let at = at.path();
    for (name, text) in [
        ("a.csv", "images/two.png\nimages/a/one.png\n"),
        ("b.csv", "width,path,height\n3,images/two.png,2\n3,images/a/one.png,2\n"),
        ("c.csv", "path,,\nimages/two.png,,\nimages/a/one.png,,\n"),
        (
            "d.jsonl",
            "{\"path\": \"images/two.png\"}\n{\"width\": 0, \"path\": \"images/a/one.png\", \"height\": [1]}\n",
        ),
        ("e.tsv", "path\tlabel\nimages/two.png\t\nimages/a/one.png\t\n"),
    ] {
        let images = opened(at, name, text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(read(&*images), [(1, None), (0, None)], "{name}");
        assert!(images.class_names().is_empty() && !images.is_multi_label());
    }
}

#[test]
fn a_list_may_be_multi_label() {
    let at = tempfile::tempdir().unwrap();
    let at = at.path();
    for (name, text) in [
        ("a.csv", "path,cat,dog\nimages/two.png,1,1\nimages/a/one.png,0,0\nimages/three.png,0,1\n"),
        (
            "b.jsonl",
            "{\"path\": \"images/two.png\", \"labels\": [\"dog\", \"cat\"]}\n{\"path\": \"images/a/one.png\", \"labels\": []}\n\
             {\"path\": \"images/three.png\", \"labels\": [\"dog\"]}\n",
        ),
    ] {
        let images = opened(at, name, text).unwrap();
        assert!(images.is_multi_label());
        let all = [(1, Some(vec!["cat", "dog"])), (0, Some(vec![])), (2, Some(vec!["dog"]))];
        assert_eq!(read(&*images), all, "{name}");
    }
    let one = opened(at, "c.csv", "path,cat,dog\nimages/two.png,1,0\nimages/a/one.png,0,1\n").unwrap();
    assert_eq!((one.is_multi_label(), one.label(0), one.label(1)), (false, Some(0), Some(1)));
}

#[test]
fn a_file_that_is_missing_is_a_bad_file() {
    let at = tempfile::tempdir().unwrap();
    let at = at.path();
    let images = opened(at, "a.csv", "path,class\nimages/two.png,dog\nimages/none.png,cat\n").unwrap();
    let error = images.load(1).unwrap_err().to_string();
    assert!(error.contains("none.png") && images.load(0).is_ok(), "{error}");
    assert_eq!(images.label(1), Some(0));
}

#[test]
fn pixels_are_those_of_the_files() {
    let at = tempfile::tempdir().unwrap();
    image::ImageBuffer::<image::Luma<u16>, _>::new(3, 2).save(at.path().join("grey.png")).unwrap();
    let table = at.path().join("a.csv");
    fs::write(&table, "grey.png\n").unwrap();
    let images = open_images(&table, FolderOptions { pixels: None, ..FolderOptions::default() }).unwrap();
    assert_eq!(images.pixels().to_string(), "u16x1");
}

#[test]
fn errors_name_the_line() {
    let at = tempfile::tempdir().unwrap();
    let at = at.path();
    for (name, text, expected) in [
        (
            "a.csv",
            "path,class\nimages/two.png,dog\nimages/./two.png,cat\n",
            "line 3: images/./two.png is cat, but dog in line 2",
        ),
        ("b.csv", "path,class\n\nnone.png,cat\nno.png,dog\n", "line 3 names"),
        (
            "c.csv",
            "what,else,there\n1,2,3\n",
            "it needs a column of images (such as path, file, filename, file_name), but has: what",
        ),
        ("d.csv", "path,class\n", "it has no row with an image"),
        ("e.jsonl", "{\"path\": \"images/two.png\"}\n{\"no\": 1, \"path\"", "line 2 is not a JSON object"),
        ("f.csv", "path,cat,dog\nimages/two.png,1,0\nimages/three.png,1,2\n", "line 3: dog is \"2\""),
        ("g.csv", "split,path,class\ntrain,images/two.png\n", "line 2 has 2 fields"),
    ] {
        let Err(error) = opened(at, name, text) else { panic!("{name} was opened") };
        let start = format!("cannot open the list of images {}: ", path_name(at.join(name)));
        assert!(
            error.starts_with(&start) && error.contains(expected) && error.lines().count() == 1,
            "{error}"
        );
    }
    let gone = open_images(at.join("gone.csv"), FolderOptions::default()).err().unwrap().to_string();
    assert!(gone.contains("gone.csv"), "{gone}");
}
