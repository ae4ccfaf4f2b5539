//! Tar files of other tools, without an index: classes apart from their images, links, names of any bytes, and files
//! that are not tar files.

use std::error::Error;
use std::path::Path;

use mae_data::{DataError, FolderOptions, ImageSource, ShardSource};
use tar::{Builder, EntryType, Header};

fn image(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files").join(name)).unwrap()
}

/// Builds a tar file of these files. A name is any sequence of at most 100 bytes.
fn tar_of(files: &[(&[u8], EntryType, &[u8])]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (name, kind, bytes) in files {
        let mut header = Header::new_gnu();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.set_entry_type(*kind);
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        tar.append(&header, *bytes).unwrap();
    }
    tar.into_inner().unwrap()
}

fn open(bytes: &[u8]) -> (tempfile::TempDir, Result<ShardSource, DataError>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("0.tar"), bytes).unwrap();
    let opened = ShardSource::open(folder.path(), FolderOptions::default());
    (folder, opened)
}

fn refusal(bytes: &[u8]) -> String {
    let error = open(bytes).1.unwrap_err();
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

const FILE: EntryType = EntryType::Regular;

#[test]
fn classes_find_their_images_wherever_they_stand() {
    let (rgb, grey) = (image("rgb.png"), image("grey.png"));
    let (folder, opened) = open(&tar_of(&[
        (b"train/b.cls", FILE, b"3"),
        (b"train/", EntryType::Directory, b""),
        (b"train/a.png", FILE, &rgb),
        (b"\xe9.PNG", EntryType::Continuous, &grey),
        (b"train/a.cls", FILE, b" 2\n"),
        (b"train/b.png", FILE, &grey),
        (b"\xe8.png", FILE, &rgb),
        (b"\xe9.cls", FILE, b"1"),
        (b"lost.cls", FILE, b"0"),
    ]));
    let shards = opened.unwrap();
    let labels: Vec<_> = (0..shards.len()).map(|index| shards.label(index)).collect();
    assert_eq!(labels, [Some(2), Some(1), Some(3), None]);
    let names: Vec<_> = (0..shards.len()).map(|index| shards.name(index)).collect();
    let expected = ["train/a.png", r"\xE9.PNG", "train/b.png", r"\xE8.png"];
    let expected = expected.map(|name| format!("{}/0.tar/{name}", folder.path().display()));
    assert_eq!(names, expected);
    for (index, name) in ["rgb.png", "grey.png", "grey.png", "rgb.png"].iter().enumerate() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files").join(name);
        assert_eq!(
            shards.load(index).unwrap(),
            mae_data::decode_file(&path, &Default::default()).unwrap().into()
        );
    }
    assert_eq!(shards.passed_over().files, [("classes without an image .cls".to_owned(), 1)].into());
}

#[test]
fn what_webdataset_does_not_take_for_an_image_is_counted() {
    let rgb = image("rgb.png");
    let (folder, opened) = open(&tar_of(&[
        (b"1.png", FILE, &rgb),
        (b"1.seg.png", FILE, &rgb),
        (b"1.jpg", FILE, &rgb),
        (b"2.png", EntryType::Link, b""),
        (b"3.jpg", EntryType::Symlink, b""),
        (b"4.v2.jpg", FILE, &rgb),
        (b"5.heic", FILE, b""),
        (b"__meta__/6.png", FILE, &rgb),
    ]));
    assert_eq!(opened.unwrap().len(), 1);
    std::fs::write(folder.path().join("loose.PNG"), &rgb).unwrap();
    std::fs::write(folder.path().join("more.tgz"), "").unwrap();
    let shards = ShardSource::open(folder.path(), FolderOptions::default()).unwrap();
    let count = |name: &str| (name.to_owned(), 1);
    let expected = [
        ".heic",
        ".tgz",
        "outside the tar files .png",
        "files with several dots in their names .jpg",
        "files with several dots in their names .png",
        "further images of a sample .jpg",
        "links to .jpg",
        "links to .png",
    ];
    assert_eq!(shards.passed_over().files, expected.map(count).into());
}

#[test]
fn what_cannot_be_told_is_refused() {
    let rgb = image("rgb.png");
    let twice = refusal(&tar_of(&[(b"1.png", FILE, &rgb), (b"1.PNG", FILE, &rgb)]));
    assert!(twice.ends_with("1.PNG is there twice"), "{twice}");
    let several = tar_of(&[
        (b"1.png", FILE, &rgb),
        (b"2.png", FILE, &rgb),
        (b"1.png", FILE, &rgb),
        (b"3.png", FILE, &rgb),
        (b"1.cls", FILE, b"5"),
    ]);
    assert!(refusal(&several).ends_with("1.cls is the class of several images"));
    // A number of 33 digits must not be read as its first 32.
    let long =
        refusal(&tar_of(&[(b"1.png", FILE, &rgb), (b"1.cls", FILE, b"000000000000000000000000000000007")]));
    assert!(long.contains("1.cls is '0000") && long.contains("but must be a class"), "{long}");
    let compressed = refusal(b"\x1f\x8b\x08\0\0\0\0\0\0\x03");
    assert!(compressed.contains("compressed with gzip"), "{compressed}");
    let none = refusal(&tar_of(&[(b"a.v2.png", FILE, &rgb)]));
    assert!(none.contains("no packed images") && none.contains("several dots in their names .png"), "{none}");
}
