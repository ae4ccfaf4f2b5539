//! Which files of a folder are its images, in which order, and with which class.

use std::path::Path;

use mae_data::{FolderOptions, ImageFolder, ImageSource};

/// A red BMP of 1 × 1 pixels.
const RED: &[u8] =
    b"BM\x3a\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\x18\0\0\0\0\0\x04\0\0\0\
    \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xff\0";

fn fill(root: &Path, names: &[&str]) {
    for name in names {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, RED).unwrap();
    }
}

fn open(root: &Path) -> ImageFolder {
    ImageFolder::open(root, FolderOptions::default()).unwrap()
}

fn listed(folder: &ImageFolder) -> Vec<(&str, Option<u32>)> {
    (0..folder.len()).map(|i| (folder.relative_path(i).unwrap().to_str().unwrap(), folder.label(i))).collect()
}

#[test]
fn sorted_by_path_with_the_first_folder_as_class() {
    let root = tempfile::tempdir().unwrap();
    fill(
        root.path(),
        &[
            "b/2.JPG",
            "b/10.Tiff",
            "b-1/x.webp",
            "a/deep/er/1.jpeg",
            "a/z.png",
            "loose.gif",
            "a/notes.txt",
            "B/1.bmp",
            "a/.hidden.png",
            ".cache/1.png",
            "empty/readme.md",
            "jpg",
            "a/no.jpg.part",
        ],
    );
    let folder = open(root.path());
    let expected = [
        ("B/1.bmp", Some(0)),
        ("a/deep/er/1.jpeg", Some(1)),
        ("a/z.png", Some(1)),
        ("b/10.Tiff", Some(2)),
        ("b/2.JPG", Some(2)),
        ("b-1/x.webp", Some(3)),
        ("loose.gif", None),
    ];
    assert_eq!(listed(&folder), expected);
    assert_eq!(folder.class_names(), ["B", "a", "b", "b-1"]);
    assert_eq!(folder.name(1), root.path().join("a/deep/er/1.jpeg").display().to_string());

    let red = folder.load(0).unwrap().into_u8().unwrap();
    assert_eq!((red.height(), red.width(), red.data()), (1, 1, &[255, 0, 0][..]));
    assert_eq!(folder.load(7).unwrap_err().to_string(), "there is no image 7: the data set has 7");
    assert_eq!((folder.label(7), folder.name(7)), (None, String::new()));
}

#[test]
fn no_labels_without_sub_folders() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), &["2.jpg", "1.jpg"]);
    let folder = open(root.path());
    assert_eq!(listed(&folder), [("1.jpg", None), ("2.jpg", None)]);
    assert!(folder.class_names().is_empty());
}

#[test]
fn nothing_to_list_is_an_error_that_says_what_was_looked_for() {
    let root = tempfile::tempdir().unwrap();
    let known = mae_data::IMAGE_EXTENSIONS.join(", ");
    let error = |path: &Path| ImageFolder::open(path, FolderOptions::default()).unwrap_err();

    fill(root.path(), &["a/readme.md"]);
    let empty = error(root.path()).to_string();
    let path = root.path().display();
    assert_eq!(
        empty,
        format!("no images in the folder {path}: looked for {known} in it and its sub-folders")
    );

    let missing = error(&root.path().join("missing"));
    assert_eq!(missing.to_string(), format!("cannot list the folder {path}/missing"));
    assert!(std::error::Error::source(&missing).is_some());
    let file = error(&root.path().join("a/readme.md")).to_string();
    assert_eq!(file, format!("{path}/a/readme.md is a file, but a folder of images is needed"));
}

#[cfg(unix)]
mod links {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn are_followed_and_loops_are_not() {
        let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fill(root.path(), &["a/1.bmp"]);
        fill(elsewhere.path(), &["2.bmp", "in/3.bmp"]);
        symlink(elsewhere.path(), root.path().join("b")).unwrap();
        symlink(elsewhere.path().join("2.bmp"), root.path().join("a/4.bmp")).unwrap();
        // Links back to the root, to itself, and between the two folders.
        symlink(root.path(), root.path().join("a/loop")).unwrap();
        symlink("self", root.path().join("a/self")).unwrap();
        symlink(root.path().join("a"), elsewhere.path().join("in/a")).unwrap();

        let folder = open(root.path());
        let paths: Vec<_> = listed(&folder).into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["a/1.bmp", "a/4.bmp", "b/2.bmp", "b/in/3.bmp", "b/in/a/1.bmp", "b/in/a/4.bmp"]);
        assert!((0..folder.len()).all(|i| folder.load(i).is_ok()));
    }

    #[test]
    fn to_a_lost_image_are_listed_and_fail_by_name() {
        let root = tempfile::tempdir().unwrap();
        fill(root.path(), &["1.bmp"]);
        symlink("gone.jpg", root.path().join("2.jpg")).unwrap();
        symlink("gone", root.path().join("no-image")).unwrap();
        let folder = open(root.path());
        assert_eq!(listed(&folder), [("1.bmp", None), ("2.jpg", None)]);
        let message = folder.load(1).unwrap_err().to_string();
        assert_eq!(message, format!("cannot read the image {}", root.path().join("2.jpg").display()));
    }

    /// `cargo test -p mae-data --release --test folder -- --ignored --nocapture million`
    #[test]
    #[ignore = "makes a million links"]
    fn a_million_open_within_20_seconds_and_500_megabytes() {
        const LINKS: usize = 1_000_000;
        let root = tempfile::tempdir().unwrap();
        fill(root.path(), &["image.bmp"]);
        let image = root.path().join("image.bmp");
        for class in 0..1000 {
            let folder = root.path().join(format!("images/n{class:08}"));
            std::fs::create_dir_all(&folder).unwrap();
            for number in 0..LINKS / 1000 {
                symlink(&image, folder.join(format!("n{class:08}_{number:05}.JPEG"))).unwrap();
            }
        }
        let started = std::time::Instant::now();
        let folder = open(&root.path().join("images"));
        let seconds = started.elapsed().as_secs_f64();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let peak_kb: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        eprintln!("{LINKS} links: {seconds:.1} s, peak {} MB", peak_kb / 1000);
        assert_eq!((folder.len(), folder.class_names().len()), (LINKS, 1000));
        assert!(seconds < 20.0 && peak_kb < 500_000);
    }
}
