//! Bad files are replaced, counted and named up to a share. Beyond it, they are an error.

mod numbers;

use std::error::Error;
use std::fs;
use std::sync::Arc;

use mae_data::{
    AnyImage, BadFilePolicy, Batch, DataError, EvalTransform, FolderOptions, ImageError, ImageFolder,
    ImageSource, Loader, LoaderConfig, SampleRng, Transform,
};
use numbers::{Noise, Numbers, SIZE, all, config, loader, name, upto};

fn skip(max_share: f64) -> LoaderConfig {
    LoaderConfig { bad_files: BadFilePolicy::Skip { max_share }, drop_last: false, ..config() }
}

fn strict() -> LoaderConfig {
    LoaderConfig { bad_files: BadFilePolicy::Strict, ..config() }
}

/// Images of which the `bad` ones cannot be read.
fn with_bad(len: usize, bad: impl Fn(usize) -> bool + Send + Sync + 'static) -> Numbers {
    Numbers::new(len, move |index| {
        if bad(index) { Err(ImageError::EmptyFile { path: name(index).into() }.into()) } else { Ok(()) }
    })
}

/// The number of batches before the error, and the error.
fn until_error(loader: &Loader, len: usize) -> (usize, DataError) {
    let mut batches = loader.batches(0, upto(len), 0).unwrap();
    let mut good = 0;
    let error = loop {
        match batches.next().expect("an error, not a short epoch") {
            Ok(_) => good += 1,
            Err(error) => break error,
        }
    };
    assert!(batches.next().is_none(), "nothing follows an error");
    (good, error)
}

fn bad_names(loader: &Loader) -> Vec<String> {
    loader.bad_files().into_iter().map(|file| file.name).collect()
}

#[test]
fn a_bad_file_is_replaced_by_another_as_it_is_seen_in_its_own_place() {
    let bad = |index| index % 13 == 5;
    let whole = all(&loader(Numbers::fine(60), skip(0.0)), upto(60), 0);
    let own_view = |index: usize| {
        let bytes = 3 * SIZE.0 * SIZE.1;
        &whole[index / 4].images[index % 4 * bytes..][..bytes]
    };

    let loader = loader(with_bad(60, bad), skip(0.1));
    let batches = all(&loader, upto(60), 0);
    let delivered: Vec<usize> = batches.iter().flat_map(|batch| batch.indices.clone()).collect();
    assert_eq!(delivered.len(), 60);
    for (wanted, &index) in delivered.iter().enumerate() {
        assert!(!bad(index));
        assert!(bad(wanted) || wanted == index);
    }
    for Batch { images, indices, labels, .. } in &batches {
        let views: Vec<u8> = indices.iter().flat_map(|&index| own_view(index).to_vec()).collect();
        assert_eq!(images, &views);
        assert_eq!(*labels, Some(indices.iter().map(|&index| index as u32 % 10).collect()));
    }
    assert_eq!(bad_names(&loader), [5, 18, 31, 44, 57].map(name));
}

#[test]
fn replacements_do_not_depend_on_workers_or_the_start() {
    // So many bad files that substitutes are often bad too.
    let make = |workers| {
        let config = LoaderConfig { workers, ..skip(0.6) };
        loader(with_bad(40, |index| index % 5 < 3), config)
    };
    let (one, four) = (make(1), make(4));
    let batches = all(&one, upto(40), 0);
    assert_eq!(batches, all(&four, upto(40), 0));
    assert_eq!(one.bad_files(), four.bad_files());
    assert_eq!(one.bad_files().len(), 24);
    assert_eq!(batches[6..], all(&make(4), upto(40), 6));
}

#[test]
fn a_bad_file_is_recorded_once() {
    let loader = loader(with_bad(20, |index| index == 3), skip(0.05));
    for _ in 0..3 {
        all(&loader, upto(20), 0);
    }
    let files = loader.bad_files();
    assert_eq!(files.len(), 1);
    assert_eq!((files[0].index, files[0].name.as_str()), (3, "numbers/003"));
    assert_eq!(files[0].reason, "the image numbers/003 is empty: 0 bytes");
}

#[test]
fn more_bad_files_than_the_share_are_an_error() {
    // Three are allowed; the fourth is in batch 7.
    let loader = loader(with_bad(400, |index| [2, 9, 17, 29].contains(&index)), skip(0.0075));
    let (good, error) = until_error(&loader, 400);
    assert_eq!(good, 7);
    assert_eq!(
        error.to_string(),
        "4 of 400 images cannot be read, a share of 0.0100, above the limit of 0.0075: \
         the image numbers/002 is empty: 0 bytes; the image numbers/009 is empty: 0 bytes; \
         the image numbers/017 is empty: 0 bytes; the image numbers/029 is empty: 0 bytes"
    );
}

#[test]
fn strict_stops_at_the_first() {
    let loader = loader(with_bad(60, |index| index == 9 || index == 10), strict());
    let (good, error) = until_error(&loader, 60);
    assert_eq!(good, 2);
    assert_eq!(error.to_string(), "the image numbers/009 is empty: 0 bytes");
}

#[test]
fn nothing_but_bad_files_is_an_error_under_every_policy() {
    for (len, config) in
        [(1, skip(1.0)), (100, skip(1.0)), (100, skip(0.05)), (100, skip(0.0)), (100, strict())]
    {
        let loader = loader(with_bad(len, |_| true), config);
        assert_eq!(until_error(&loader, len).0, 0);
    }
    let (_, error) = until_error(&loader(with_bad(1, |_| true), skip(1.0)), 1);
    assert_eq!(error.to_string(), "the image numbers/000 is empty: 0 bytes");
    let (_, error) = until_error(&loader(with_bad(100, |_| true), skip(0.05)), 100);
    assert!(error.to_string().ends_with("is empty: 0 bytes; and others"), "{error}");
}

#[test]
fn a_panic_is_a_bad_file() {
    let hostile = || {
        Numbers::new(20, |index| {
            assert!(index != 6, "marker {index} out of bounds");
            Ok(())
        })
    };
    let skipping = loader(hostile(), skip(0.05));
    assert_eq!(all(&skipping, upto(20), 0).len(), 5);
    let reason = "reading the image numbers/006 panicked: marker 6 out of bounds";
    assert_eq!(skipping.bad_files()[0].reason, reason);
    assert_eq!(until_error(&loader(hostile(), strict()), 20).1.to_string(), reason);

    struct Panics;
    impl Transform for Panics {
        fn apply(&self, _: AnyImage, _: &mut SampleRng) -> AnyImage {
            panic!("no crop fits")
        }
        fn output_size(&self) -> (usize, usize) {
            SIZE
        }
    }
    let loader = Loader::new(Arc::new(Numbers::fine(20)), Arc::new(Panics), strict()).unwrap();
    assert_eq!(
        until_error(&loader, 20).1.to_string(),
        "reading the image numbers/000 panicked: no crop fits"
    );
}

/// A source that panics in `name`, where the loader does not catch panics.
struct Nameless(Numbers);

impl ImageSource for Nameless {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn load(&self, index: usize) -> Result<AnyImage, DataError> {
        self.0.load(index)
    }
    fn name(&self, _: usize) -> String {
        panic!("no name")
    }
    fn label(&self, index: usize) -> Option<u32> {
        self.0.label(index)
    }
    fn class_names(&self) -> &[String] {
        &[]
    }
}

#[test]
fn workers_that_are_gone_are_an_error_not_a_hang() {
    let source = Nameless(Numbers { channels: 1, ..Numbers::fine(40) });
    let loader = Loader::new(Arc::new(source), Arc::new(Noise), config()).unwrap();
    let (good, error) = until_error(&loader, 40);
    assert_eq!(good, 0);
    assert_eq!(error.source().unwrap().to_string(), "a worker ended before its work");
}

#[test]
fn a_folder_with_every_kind_of_bad_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let noise = |index: u32| {
        image::RgbImage::from_fn(20, 10, |x, y| image::Rgb([x, y, x * y].map(|v| (v * 37 + index) as u8)))
    };
    for index in 0..30 {
        noise(index).save(path(&format!("{index:02}.png"))).unwrap();
    }
    let whole = fs::read(path("00.png")).unwrap();
    fs::write(path("90-truncated.png"), &whole[..whole.len() / 2]).unwrap();
    fs::write(path("91-empty.jpg"), []).unwrap();
    fs::write(path("92-text.jpg"), "not an image").unwrap();
    fs::create_dir(path("93-folder")).unwrap();
    let mut expected = vec!["90-truncated.png", "91-empty.jpg", "92-text.jpg"];
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("nowhere", path("94-gone.png")).unwrap();
        expected.push("94-gone.png");
    }

    let source = Arc::new(ImageFolder::open(folder.path(), FolderOptions::default()).unwrap());
    let len = source.len();
    let loader =
        Loader::new(source.clone(), Arc::new(EvalTransform::new((8, 8), None).unwrap()), skip(0.2)).unwrap();
    assert_eq!(all(&loader, upto(len), 0).iter().map(|batch| batch.indices.len()).sum::<usize>(), len);
    let names = bad_names(&loader);
    assert_eq!(names.len(), expected.len());
    assert!(names.iter().zip(expected).all(|(name, expected)| name.ends_with(expected)), "{names:?}");
    assert!(
        loader.bad_files().iter().all(|file| file.reason.contains(&file.name)),
        "{:?}",
        loader.bad_files()
    );
}
