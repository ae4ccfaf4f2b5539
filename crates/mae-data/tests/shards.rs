//! Packed images equal those of the folder, packing resumes after an interruption, and wrong shards are refused.

use std::error::Error;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::RgbImage;
use mae_data::{
    DataError, EvalTransform, FolderOptions, ImageError, ImageFolder, ImageSource, Loader, LoaderConfig,
    PackOptions, RandomResizedCrop, ShardSource, Store, TrainTransform, Transform, open_images, pack,
    sample_rng,
};

/// Six images of 40x60, five in two classes and one without a class, and one of 10x9 with a class.
fn photos(folder: &Path) -> ImageFolder {
    let draw = |width, height, seed: u32| {
        RgbImage::from_fn(width, height, |x, y| {
            image::Rgb([(x * 4 + seed * 9) as u8, (y * 6) as u8, ((x + y) * seed) as u8])
        })
    };
    for (seed, name) in
        ["cat/a.png", "cat/b.jpg", "cat/c.png", "dog/a.jpg", "dog/deep/b.png", "x.jpg"].iter().enumerate()
    {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        draw(60, 40, seed as u32).save(path).unwrap();
    }
    draw(9, 10, 7).save(folder.join("dog/small.png")).unwrap();
    ImageFolder::open(folder, FolderOptions::default()).unwrap()
}

fn options(store: Store) -> PackOptions {
    PackOptions { short_side_px: 16, store, images_per_shard: 3, threads: 2 }
}

/// A folder of images, and the folder into which it was packed.
struct Packing {
    folder: ImageFolder,
    out: PathBuf,
    temporary: tempfile::TempDir,
}

fn packing(store: Store) -> Packing {
    let temporary = tempfile::tempdir().unwrap();
    let folder = photos(&temporary.path().join("photos"));
    let out = temporary.path().join("packed");
    let packed = pack(&folder, &out, &options(store), |_, _| ()).unwrap();
    assert_eq!((packed.images, packed.shards, packed.kept_shards), (7, 3, 0));
    assert!(packed.unreadable.is_empty());
    Packing { folder, out, temporary }
}

fn open(out: &Path) -> Result<ShardSource, DataError> {
    ShardSource::open(out, FolderOptions::default())
}

/// Formats an error and its causes.
fn said(error: &dyn Error) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {}", said(cause)))
}

#[test]
fn plain_pixels_are_those_of_the_folder_resized_once() {
    let Packing { folder, out, temporary: _temporary } = packing(Store::Ppm);
    let shards = open_images(&out, FolderOptions::default()).unwrap();
    assert_eq!(shards.class_names(), folder.class_names());
    assert_eq!(shards.len(), folder.len());
    let resized = EvalTransform::new((16, 24), None).unwrap();
    for index in 0..folder.len() {
        assert_eq!(shards.label(index), folder.label(index));
        let relative = folder.relative_path(index).unwrap().to_str().unwrap();
        assert!(shards.name(index).ends_with(&format!(".ppm ({relative})")), "{}", shards.name(index));
        let small = relative.ends_with("small.png");
        let whole = folder.load(index).unwrap();
        let expected = if small { whole } else { resized.apply(whole, &mut sample_rng(0, 0, 0)) };
        assert_eq!(shards.load(index).unwrap(), expected, "{relative}");
    }
    assert!(matches!(shards.load(7), Err(DataError::Index { index: 7, len: 7 })));
}

#[test]
fn compressed_pixels_are_nearly_those() {
    let Packing { folder, out, temporary: _temporary } = packing(Store::Jpeg { quality: 100 });
    let shards = open(&out).unwrap();
    let resized = EvalTransform::new((16, 24), None).unwrap();
    for index in 0..folder.len() - 1 {
        let image = shards.load(index).unwrap().into_u8().unwrap();
        let expected = resized.apply(folder.load(index).unwrap(), &mut sample_rng(0, 0, 0));
        let expected = expected.into_u8().unwrap();
        if (image.height(), image.width()) == (16, 24) {
            let off: u64 =
                image.data().iter().zip(expected.data()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
            assert!(off < 3 * image.data().len() as u64, "{}", shards.name(index));
        }
    }
}

/// The loader decodes only the part of an image that it needs. The result must be the same.
#[test]
fn batches_are_what_the_transforms_make_of_whole_images() {
    let Packing { folder, out, temporary: _temporary } = packing(Store::Ppm);
    let sources: [Arc<dyn ImageSource>; 2] = [Arc::new(folder), Arc::new(open(&out).unwrap())];
    let train = TrainTransform::new((9, 7), RandomResizedCrop::default()).unwrap();
    let transforms: [Arc<dyn Transform>; 2] =
        [Arc::new(train), Arc::new(EvalTransform::new((20, 12), Some(14)).unwrap())];
    for source in &sources {
        for transform in &transforms {
            let config =
                LoaderConfig { seed: 1, batch_size: 14, repeats: 2, workers: 2, ..LoaderConfig::default() };
            let loader = Loader::new(source.clone(), transform.clone(), config).unwrap();
            for epoch in 0..20 {
                let batch = loader.batches(epoch, (0..7).collect(), 0).unwrap().next().unwrap().unwrap();
                let size = batch.images.len() / 14;
                for ((sample, &index), &pass) in
                    batch.images.chunks(size).zip(&batch.indices).zip(&batch.passes)
                {
                    let mut rng = sample_rng(1, pass, index);
                    let image = transform.apply(source.load(index).unwrap(), &mut rng).into_u8().unwrap();
                    let planes: Vec<u8> = (0..3)
                        .flat_map(|channel| image.data().iter().skip(channel).step_by(3).copied())
                        .collect();
                    assert!(sample == planes, "{} in epoch {epoch}", source.name(index));
                }
            }
        }
    }
}

#[test]
fn an_interrupted_packing_goes_on() {
    let Packing { folder, out: whole, temporary } = packing(Store::Ppm);
    let out = temporary.path().join("interrupted");
    let options = options(Store::Ppm);
    let interrupted = catch_unwind(AssertUnwindSafe(|| {
        pack(&folder, &out, &options, |done, _| assert!(done < 4, "the power goes out"))
    }));
    assert!(interrupted.is_err());
    assert!(matches!(open(&out), Err(DataError::NoShards { .. }) | Ok(_)));

    let other = PackOptions { short_side_px: 17, ..options.clone() };
    let message = pack(&folder, &out, &other, |_, _| ()).unwrap_err().to_string();
    assert!(
        message.contains("unfinished packing with other settings (16 px, Ppm, 3 a shard, 7 images"),
        "{message}"
    );

    let packed = pack(&folder, &out, &options, |_, _| ()).unwrap();
    assert_eq!((packed.images, packed.shards, packed.kept_shards), (7, 3, 1));
    let names = |folder: &Path| {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&out), ["images-000000.tar", "images-000001.tar", "images-000002.tar", "index.jsonl"]);
    for name in names(&out) {
        assert!(fs::read(out.join(&name)).unwrap() == fs::read(whole.join(&name)).unwrap(), "{name:?}");
    }
    let message = pack(&folder, &out, &options, |_, _| ()).unwrap_err().to_string();
    assert!(message.ends_with("it holds packed images already"), "{message}");
}

#[test]
fn folders_and_settings_that_cannot_be_packed_are_refused() {
    let Packing { folder, temporary, .. } = packing(Store::Ppm);
    let refusal = |out: &Path, options| pack(&folder, out, &options, |_, _| ()).unwrap_err().to_string();
    let message = refusal(folder.root(), options(Store::Ppm));
    assert!(message.ends_with("it is not empty, and holds no unfinished packing"), "{message}");
    let out = &temporary.path().join("new");
    let message = refusal(out, options(Store::Jpeg { quality: 101 }));
    assert_eq!(message, "quality is 101, but must be 1 to 100");
    for wrong in [
        PackOptions { short_side_px: 0, ..PackOptions::default() },
        PackOptions { images_per_shard: 0, ..PackOptions::default() },
        PackOptions { threads: 0, ..PackOptions::default() },
    ] {
        assert!(refusal(out, wrong).contains("but must be"));
    }
    assert!(!out.exists());
}

#[test]
fn unreadable_images_are_left_out_and_named() {
    let temporary = tempfile::tempdir().unwrap();
    let root = temporary.path().join("photos");
    photos(&root);
    fs::write(root.join("cat/b.jpg"), b"no image").unwrap();
    let folder = ImageFolder::open(&root, FolderOptions::default()).unwrap();
    let out = temporary.path().join("packed");
    let packed = pack(&folder, &out, &options(Store::Ppm), |_, _| ()).unwrap();
    assert_eq!((packed.images, packed.unreadable.len(), packed.unreadable[0].index), (6, 1, 1));
    assert!(packed.unreadable[0].reason.contains("b.jpg is not an image"), "{:?}", packed.unreadable);
    let shards = open(&out).unwrap();
    assert_eq!(shards.len(), 6);
    assert!(shards.name(1).contains("c.png"));

    for name in ["cat/a.png", "cat/c.png", "dog/a.jpg", "dog/deep/b.png", "dog/small.png", "x.jpg"] {
        fs::write(root.join(name), b"").unwrap();
    }
    let out = temporary.path().join("nothing");
    let message = pack(&folder, &out, &options(Store::Ppm), |_, _| ()).unwrap_err().to_string();
    assert!(message.contains("none of 7 images can be read"), "{message}");
}

#[test]
fn images_too_long_for_jpeg_are_left_out_and_named() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = photos(&temporary.path().join("photos"));
    RgbImage::new(1 << 16, 1).save(folder.root().join("long.png")).unwrap();
    let folder = ImageFolder::open(folder.root(), FolderOptions::default()).unwrap();
    let packed =
        pack(&folder, temporary.path().join("jpeg"), &options(Store::Jpeg { quality: 90 }), |_, _| ())
            .unwrap();
    assert_eq!((packed.images, packed.unreadable.len()), (7, 1));
    assert!(packed.unreadable[0].reason.contains("long.png, 1x65536"), "{:?}", packed.unreadable);
    let packed = pack(&folder, temporary.path().join("ppm"), &options(Store::Ppm), |_, _| ()).unwrap();
    assert_eq!((packed.images, packed.unreadable.len()), (8, 0));
}

/// Applies `change` to packed shards, and returns the error with its text: that of opening them, otherwise that of the
/// first image that is refused.
fn refusal(change: impl FnOnce(&Path)) -> (DataError, String) {
    let Packing { out, temporary: _temporary, .. } = packing(Store::Ppm);
    change(&out);
    let error = match open(&out) {
        Err(error) => error,
        Ok(shards) => (0..shards.len()).find_map(|index| shards.load(index).err()).expect("no refusal"),
    };
    let text = said(&error).replace(out.to_str().unwrap(), "PACKED");
    (error, text)
}

fn edit(file: PathBuf, change: impl FnOnce(String) -> String) {
    let text = change(fs::read_to_string(&file).unwrap());
    fs::write(file, text).unwrap();
}

#[test]
fn shards_that_are_missing_or_cut_short_are_refused() {
    let (_, text) = refusal(|out| fs::remove_file(out.join("images-000001.tar")).unwrap());
    assert!(text.starts_with("cannot read the shard PACKED/images-000001.tar: "), "{text}");
    let (_, text) = refusal(|out| {
        let file = fs::OpenOptions::new().write(true).open(out.join("images-000002.tar")).unwrap();
        file.set_len(1000).unwrap();
    });
    assert_eq!(text, "the shard PACKED/images-000002.tar has 1000 bytes, but must have 3072");
}

#[test]
fn indices_that_are_wrong_are_refused() {
    let index = |out: &Path| out.join("index.jsonl");
    let replace = |from: &'static str, to: &'static str| {
        refusal(move |out| {
            edit(index(out), |text| {
                assert!(text.contains(from), "{text}");
                text.replacen(from, to, 1)
            });
        })
        .1
    };
    assert_eq!(
        replace("\"version\":1", "\"version\":2"),
        "the index PACKED/index.jsonl is of version 2, but only version 1 is supported"
    );
    assert!(replace("mae-shards", "another").contains("format is another, but must be mae-shards"));
    let text = replace("\"samples\":7", "\"samples\":8");
    assert!(text.ends_with("samples is 8, but must be the number of lines after the first, 7"), "{text}");
    let text = replace("\"label\":0,\"shard\":", "\"label\":0,\"shard\":7");
    assert!(text.contains("but must be below the number of shards, 3"), "{text}");
    let text = replace("\"label\":1", "\"label\":9");
    assert!(text.contains("is 9, but must be below the number of classes, 2"), "{text}");
    let text = replace("\"offset\":", "\"offset\":99999");
    assert!(text.contains("within images-00000"), "{text}");
    let text = replace("\"bytes\":1165}", "\"bytes\":18446744073709551615}");
    assert!(text.contains("after a header of 512"), "{text}");
    let text = replace("\"index\":1", "\"index\":5");
    assert!(text.contains("index of"), "{text}");
    // A value that only the shard itself contradicts.
    let text = replace("\"bytes\":1165}", "\"bytes\":1164}");
    assert!(text.contains(".ppm of 1164 bytes at byte"), "{text}");
    let (error, text) = refusal(|out| edit(index(out), |text| text[..text.len() - 20].to_owned()));
    assert!(matches!(error, DataError::ShardIndex { line: 8, .. }), "{text}");
    let (error, _) = refusal(|out| fs::write(index(out), "").unwrap());
    assert!(matches!(error, DataError::ShardIndex { line: 1, .. }));
}

#[test]
fn shards_that_do_not_belong_to_their_index_are_refused() {
    let (error, _) = refusal(|out| {
        let [a, b] = ["images-000000.tar", "images-000001.tar"].map(|name| out.join(name));
        let (first, second) = (fs::read(&a).unwrap(), fs::read(&b).unwrap());
        let length = first.len().min(second.len());
        // The same length as before, with other images in it.
        let mixed = [&second[..length], &first[length..]].concat();
        fs::write(a, mixed).unwrap();
    });
    assert!(matches!(error, DataError::ShardEntry { .. }), "{error}");
    let (error, text) = refusal(|out| {
        let path = out.join("images-000000.tar");
        let mut bytes = fs::read(&path).unwrap();
        // "P6\n24 16" then has more rows than its file holds.
        bytes[518] = b'9';
        fs::write(path, bytes).unwrap();
    });
    assert!(matches!(error, DataError::Image(ImageError::Truncated { .. })), "{text}");
}

/// Builds a tar file of these files.
fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, name, *bytes).unwrap();
    }
    tar.into_inner().unwrap()
}

#[test]
fn tar_files_of_others_are_read_without_an_index() {
    let temporary = tempfile::tempdir().unwrap();
    let root = temporary.path().join("photos");
    let folder = photos(&root);
    let file = |name: &str| fs::read(root.join(name)).unwrap();
    let long = format!("{}/1.png", "deep".repeat(40));
    let (a, b, c) = (file("cat/a.png"), file("cat/b.jpg"), file("cat/c.png"));
    let out = temporary.path().join("tars");
    fs::create_dir(&out).unwrap();
    let first =
        tar_of(&[("1.cls", b"2\n"), ("1.png", &a), ("1.json", b"{}"), ("2.jpg", &b), ("2.cls", b"0")]);
    fs::write(out.join("a.tar"), &first).unwrap();
    fs::write(out.join("b.tar"), tar_of(&[(&long, &c), ("x/3.seg.png", &a)])).unwrap();
    let shards = open_images(&out, FolderOptions::default()).unwrap();
    assert_eq!(shards.class_names(), ["0", "1", "2"]);
    assert_eq!(
        (0..shards.len()).map(|index| shards.label(index)).collect::<Vec<_>>(),
        [Some(2), Some(0), None]
    );
    for index in 0..3 {
        assert_eq!(shards.load(index).unwrap(), folder.load(index).unwrap());
    }

    // Truncated in the image, and in the header after it.
    for (length, reason) in [(1600, "1.png ends beyond"), (first.len() / 2, "failed to read")] {
        fs::write(out.join("b.tar"), &first[..length]).unwrap();
        let text = said(&open(&out).unwrap_err());
        assert!(text.contains("b.tar") && text.contains(reason), "{text}");
    }
    fs::write(out.join("b.tar"), tar_of(&[("1.png", &a), ("1.cls", b"4294967295")])).unwrap();
    let text = said(&open(&out).unwrap_err());
    assert!(text.ends_with("1.cls is '4294967295', but must be a class, a number below 1048576"), "{text}");

    // Tar files beside image files are not read.
    fs::write(root.join("backup.tar"), &first).unwrap();
    assert_eq!(open_images(&root, FolderOptions::default()).unwrap().len(), 7);
    fs::remove_file(out.join("a.tar")).unwrap();
    fs::write(out.join("b.tar"), tar_of(&[("readme.txt", b"nothing here")])).unwrap();
    assert!(matches!(open_images(&out, FolderOptions::default()), Err(DataError::EmptyFolder { .. })));
}

/// `python/check_webdataset.py` writes the shards with WebDataset's own package.
#[test]
fn what_webdataset_writes_is_read() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/shards");
    let shards = open(&golden).unwrap();
    assert_eq!(
        (0..shards.len()).map(|index| shards.label(index)).collect::<Vec<_>>(),
        [Some(1), Some(0), None]
    );
    let ramp = |upside_down| {
        let rows = (0..6).flat_map(move |y| (0..9).map(move |x| x + if upside_down { 5 - y } else { y }));
        rows.flat_map(|sum| [5, 11, 17].map(|step| (sum * step) as u8)).collect::<Vec<u8>>()
    };
    for (index, upside_down) in [false, true, false].into_iter().enumerate() {
        let image = shards.load(index).unwrap().into_u8().unwrap();
        assert_eq!((image.height(), image.width()), (6, 9));
        assert_eq!(image.data(), ramp(upside_down), "{}", shards.name(index));
    }
}
