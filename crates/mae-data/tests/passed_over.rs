//! Files and folders that are not part of a data set are counted and reported, and names are one line each.

use std::path::Path;

use mae_data::{DataError, Doctor, FolderOptions, ImageFolder, ImageSource, open_images};

fn file(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files").join(name)).unwrap()
}

fn write(root: &Path, name: impl AsRef<Path>, bytes: &[u8]) {
    let path = root.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn open(root: &Path) -> Result<ImageFolder, DataError> {
    ImageFolder::open(root, FolderOptions::default())
}

fn listed(folder: &ImageFolder) -> Vec<&str> {
    (0..folder.len()).map(|i| folder.relative_path(i).unwrap().to_str().unwrap()).collect()
}

#[test]
fn what_is_not_read_is_counted_with_what_to_do() {
    let root = tempfile::tempdir().unwrap();
    let jpeg = file("full-chroma.jpg");
    for name in
        ["a/1.jfif", "a/2.JPE", "b/@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg", "@eaDir/x.jpg", "__MACOSX/a/1.jpg"]
    {
        write(root.path(), name, &jpeg);
    }
    write(root.path(), "b/3.ppm", &file("rgb.ppm"));
    write(root.path(), "b/4.pgm", &file("grey.pgm"));
    for name in ["a/x.heic", "a/y.HEIC", "b/z.avif", "old.tar", "a/.hidden.heic", "a/notes.txt"] {
        write(root.path(), name, b"not looked into");
    }
    let folder = open(root.path()).unwrap();
    assert_eq!(listed(&folder), ["a/1.jfif", "a/2.JPE", "b/3.ppm", "b/4.pgm"]);
    let passed_over = folder.passed_over();
    let count = |name: &str, count| (name.to_owned(), count);
    assert_eq!(passed_over.files, [count(".avif", 1), count(".heic", 2), count(".tar", 1)].into());
    assert_eq!(passed_over.folders, [count("@eaDir", 2), count("__MACOSX", 1)].into());
    assert!(passed_over.runs.is_empty());
    let said = passed_over.warning().unwrap().to_string();
    assert!(
        said.starts_with("skipped files: 1 .avif, 2 .heic, 1 .tar; system folders: 2 @eaDir, "),
        "{said}"
    );
    assert!(said.contains("magick mogrify -format png *.avif") && said.contains("unpack"), "{said}");

    let report = Doctor::default().examine(&folder, |_, _| ()).unwrap();
    assert_eq!((report.readable, report.passed_over.clone()), (4, passed_over.clone()));
    // System folders are not classes without images.
    assert_eq!((report.empty_folders.len(), report.warnings.len()), (0, 2), "{:?}", report.warnings);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["passed_over"]["files"][".heic"], 2);
    assert!(json["warnings"].as_array().unwrap().iter().any(|warning| warning["kind"] == "passed_over"));
    assert!(report.to_string().contains("skipped         files: 1 .avif, 2 .heic"), "{report}");
}

#[test]
fn a_folder_of_other_images_says_what_it_holds() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "a/x.heic", b"");
    write(root.path(), "b/0.tar", b"");
    let error = open_images(root.path(), FolderOptions::default()).err().unwrap().to_string();
    assert!(error.contains("no images in the folder") && error.contains("1 .heic, 1 .tar"), "{error}");
    assert!(error.contains("magick"), "{error}");
}

#[test]
fn the_pictures_of_runs_are_no_data() {
    let root = tempfile::tempdir().unwrap();
    let jpeg = file("full-chroma.jpg");
    write(root.path(), "cat/1.jpg", &jpeg);
    for (run, beside) in
        [("runs/first", "lock"), ("runs/second", "metrics.jsonl"), ("cat/third", "checkpoints/x")]
    {
        write(root.path(), format!("{run}/recipe.toml"), b"");
        write(root.path(), format!("{run}/{beside}"), b"");
        write(root.path(), format!("{run}/pictures/0.png"), &jpeg);
        write(root.path(), format!("{run}/loss.png"), &jpeg);
    }
    // A folder with nothing but a recipe is not a run.
    write(root.path(), "food/recipe.toml", b"");
    write(root.path(), "food/soup.jpg", &jpeg);
    let folder = open(root.path()).unwrap();
    assert_eq!(listed(&folder), ["cat/1.jpg", "food/soup.jpg"]);
    assert_eq!(folder.class_names(), ["cat", "food"]);
    assert_eq!(folder.passed_over().runs, ["cat/third", "runs/first", "runs/second"]);
    assert!(folder.empty_folders().unwrap().is_empty());

    let run = root.path().join("runs/first");
    let error = open(&run).unwrap_err();
    assert!(matches!(error, DataError::RunFolder { .. }));
    assert!(error.to_string().ends_with("runs/first/pictures for the run's pictures"), "{error}");
    assert_eq!(listed(&open(&run.join("pictures")).unwrap()), ["0.png"]);
}

#[test]
fn arrays_are_listed_only_where_there_are_no_images() {
    let root = tempfile::tempdir().unwrap();
    let write = |name: &str| std::fs::write(root.path().join(name), b"").unwrap();
    let open = || ImageFolder::open(root.path(), FolderOptions::default());
    std::fs::create_dir(root.path().join("a")).unwrap();
    ["a/2.NPY", "1.npy", ".0.npy"].iter().for_each(|name| write(name));
    let folder = open().unwrap();
    assert_eq!(folder.len(), 2);
    assert_eq!(folder.relative_path(1), Some(Path::new("a/2.NPY")));
    assert_eq!(folder.class_names(), ["a"]);
    assert!(folder.passed_over().is_empty());
    write("a/3.tar");
    assert!(open().unwrap_err().to_string().contains("files: 2 .npy, 1 .tar"), "{}", open().unwrap_err());
    write("a/3.png");
    let folder = open().unwrap();
    assert_eq!((folder.len(), folder.relative_path(0)), (1, Some(Path::new("a/3.png"))));
    assert_eq!(folder.passed_over().files[".npy"], 2);
}

#[cfg(unix)]
mod names {
    use std::collections::HashSet;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn are_one_line_and_differ_where_files_do() {
        let root = tempfile::tempdir().unwrap();
        let jpeg = file("full-chroma.jpg");
        // Names of classes and files that differ only in bytes that are not UTF-8 or in line breaks, and one that looks
        // like another's escaped form.
        let names: [&[u8]; 6] = [
            b"caf\xe9/\xe9.jpg",
            b"caf\xe8/\xe9.jpg",
            b"caf\xe8/\xe8.jpg",
            b"a\nb/1.jpg",
            b"a\\nb/1.jpg",
            b"c\r/\x85.jpg",
        ];
        for name in names {
            write(root.path(), OsStr::from_bytes(name), &jpeg);
        }
        let folder = open(root.path()).unwrap();
        assert_eq!(folder.class_names(), [r"a\nb", r"a\\nb", r"c\r", r"caf\xE8", r"caf\xE9"]);
        let listed: HashSet<String> = (0..folder.len()).map(|i| folder.name(i)).collect();
        assert_eq!(listed.len(), names.len());
        assert!(
            listed.iter().all(|name| name.lines().count() == 1 && !name.contains('\u{fffd}')),
            "{listed:?}"
        );
        assert!((0..folder.len()).all(|i| folder.load(i).is_ok()));
    }

    #[test]
    fn are_one_line_in_errors() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "a\nb.jpg", b"");
        let error = open(root.path()).unwrap().load(0).unwrap_err().to_string();
        assert!(error.ends_with(r"/a\nb.jpg is empty: 0 bytes"), "{error}");
    }
}
