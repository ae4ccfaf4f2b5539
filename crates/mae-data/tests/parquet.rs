//! Images in Parquet files, opened as data sets.

mod tables;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use mae_data::{
    FolderOptions, ImageFolder, ImageSource, Loader, LoaderConfig, ParquetImages, PixelFormat,
    RandomResizedCrop, TrainTransform, open_images, path_name,
};
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder, WriterVersion};
use tables::{Column, STRUCT, png, write};

/// Properties that make many pages in each row group.
fn paged() -> WriterPropertiesBuilder {
    WriterProperties::builder()
        .set_write_batch_size(1)
        .set_data_page_row_count_limit(3)
        .set_dictionary_enabled(false)
}

fn open(path: &Path) -> Arc<dyn ImageSource> {
    open_images(path, FolderOptions::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(path: &Path) -> String {
    match open_images(path, FolderOptions::default()) {
        Ok(images) => panic!("{} images were opened", images.len()),
        Err(error) => error.to_string(),
    }
}

/// The number from which each image was made; `None` if it cannot be read.
fn numbers(images: &dyn ImageSource) -> Vec<Option<u8>> {
    let number = |index| Some(images.load(index).ok()?.into_u8().ok()?.data()[0]);
    (0..images.len()).map(number).collect()
}

#[test]
fn every_image_is_read_by_its_index() {
    let at = tempfile::tempdir().unwrap();
    let kinds = [
        ("plain", paged()),
        ("no-index", paged().set_offset_index_disabled(true)),
        ("snappy", paged().set_compression(Compression::SNAPPY)),
        (
            "zstd",
            paged().set_compression(Compression::ZSTD(ZstdLevel::default())).set_offset_index_disabled(true),
        ),
        ("gzip", paged().set_compression(Compression::GZIP(GzipLevel::default()))),
        ("second", paged().set_writer_version(WriterVersion::PARQUET_2_0).set_offset_index_disabled(true)),
        (
            "second-snappy",
            paged().set_writer_version(WriterVersion::PARQUET_2_0).set_compression(Compression::SNAPPY),
        ),
        ("dictionary", paged().set_dictionary_enabled(true)),
        ("dictionary-no-index", paged().set_dictionary_enabled(true).set_offset_index_disabled(true)),
        // The dictionary is soon full, so the other pages are plain.
        ("dictionary-small", paged().set_dictionary_enabled(true).set_dictionary_page_size_limit(200)),
        ("one-page", WriterProperties::builder()),
    ];
    for (name, properties) in kinds {
        let path = at.path().join(format!("{name}.parquet"));
        // Rows 2, 5, 8, … have no image.
        let image = |number: u8| (number % 3 != 2).then(|| png(number));
        let groups: Vec<Vec<Column>> = [0..11_u8, 11..12, 12..29]
            .map(|range| {
                let names =
                    range.clone().map(|number| (number % 2 == 0).then(|| format!("{number}.png").into()));
                let labels = range.clone().map(|number| (number != 4).then_some(i64::from(number % 5)));
                vec![
                    Column::bytes(range.clone().map(image), 2),
                    Column::bytes(names, 2),
                    Column::integers(labels),
                ]
            })
            .into();
        let schema = format!("message m {{ {STRUCT} optional int64 label; }}");
        write(&path, &schema, properties.build(), None, &groups);
        let images = open(&path);
        let expected: Vec<_> = (0..29).map(|number| (number % 3 != 2).then_some(number)).collect();
        assert_eq!(numbers(&*images), expected, "{name}");
        // Once more, in reverse order.
        for index in (0..29).rev() {
            let found = images.load(index).ok().map(|image| image.into_u8().unwrap().data()[0]);
            assert_eq!(found, expected[index], "{name}: {index}");
        }
        let error = images.load(2).unwrap_err().to_string();
        let missing = path_name(at.path().join("2.png"));
        let reason = format!("row 2: its image is null, and there is no file {missing}");
        assert_eq!(error, format!("cannot read images from {}: {reason}", path_name(&path)));
        assert!(images.load(29).is_err() && images.name(29).is_empty() && images.label(29).is_none());
        assert_eq!(images.name(16), path_name(path.join("16 (16.png)")));
        assert_eq!(images.name(17), path_name(path.join("17")));
        assert_eq!(images.class_names(), ["0", "1", "2", "3", "4"]);
        let labels: Vec<_> = (0..29).map(|index| images.label(index)).collect();
        assert_eq!(labels, (0..29).map(|n| (n != 4).then_some(n % 5)).collect::<Vec<_>>(), "{name}");
    }
}

/// The file has the form that `Dataset.from_dict({"image": paths})` writes.
#[test]
fn images_that_are_named_and_not_held_are_read_from_their_files() {
    let at = tempfile::tempdir().unwrap();
    let (tables, elsewhere) = (at.path().join("tables"), at.path().join("elsewhere.png"));
    fs::create_dir(&tables).unwrap();
    fs::write(tables.join("beside.png"), png(7)).unwrap();
    fs::write(&elsewhere, png(8)).unwrap();
    let path = tables.join("images.parquet");
    let named = ["beside.png", elsewhere.to_str().unwrap(), "held.png", "missing.png"];
    let columns = vec![
        Column::bytes([None, None, Some(png(9)), None], 2),
        Column::bytes(named.map(|name| Some(name.into())), 2),
    ];
    let schema = format!("message schema {{ {STRUCT} }}");
    write(&path, &schema, WriterProperties::builder().build(), None, &[columns]);
    assert_eq!(numbers(open(&path).as_ref()), [Some(7), Some(8), Some(9), None]);
}

#[test]
fn many_threads_read_the_same_pages() {
    let at = tempfile::tempdir().unwrap();
    let path = at.path().join("a.parquet");
    let properties = paged().set_compression(Compression::SNAPPY).build();
    let column = Column::bytes((0..60).map(|number| Some(png(number))), 1);
    write(&path, "message m { optional binary image; }", properties, None, &[vec![column]]);
    let images = open(&path);
    assert!(images.class_names().is_empty() && images.label(0).is_none());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(numbers(&*images), (0..60).map(Some).collect::<Vec<_>>()));
        }
    });
}

#[test]
fn batches_are_those_of_a_folder_of_the_same_images() {
    let at = tempfile::tempdir().unwrap();
    let folder = at.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let (mut files, size) = (Vec::new(), 40);
    for number in 0..24_u32 {
        let pixel = |x, y| image::Rgb([(x * 6) as u8, (y * 5) as u8, (x * y + 10 * number) as u8]);
        let path = folder.join(format!("{number:02}.png"));
        image::RgbImage::from_fn(size, size + number, pixel).save(&path).unwrap();
        files.push(Some(fs::read(path).unwrap()));
    }
    let path = at.path().join("a.parquet");
    let groups: Vec<_> =
        files.chunks(10).map(|files| vec![Column::bytes(files.iter().cloned(), 0)]).collect();
    write(&path, "message m { required binary img; }", paged().build(), None, &groups);
    let batches = |source: Arc<dyn ImageSource>| {
        let transform = Arc::new(TrainTransform::new((16, 16), RandomResizedCrop::default()).unwrap());
        let config = LoaderConfig { batch_size: 5, workers: 3, seed: 7, ..LoaderConfig::default() };
        let loader = Loader::new(source, transform, config).unwrap();
        loader.epoch(1).unwrap().map(|batch| batch.unwrap()).collect::<Vec<_>>()
    };
    let folder = batches(Arc::new(ImageFolder::open(&folder, FolderOptions::default()).unwrap()));
    let table = batches(open(&path));
    assert_eq!(folder.len(), 4);
    for (folder, table) in folder.iter().zip(&table) {
        assert_eq!((&folder.indices, &folder.images), (&table.indices, &table.images));
    }
}

#[test]
fn classes_have_the_names_that_datasets_keeps() {
    let at = tempfile::tempdir().unwrap();
    let path = at.path().join("a.parquet");
    let features = r#"{"info": {"features": {"image": {"_type": "Image"},
        "fine_label": {"names": ["cat", "dog", "ape"], "_type": "ClassLabel"}}}}"#;
    let labels = [Some(1), None, Some(-1), Some(0)];
    let columns = || vec![Column::bytes((0..4).map(|n| Some(png(n))), 1), Column::integers(labels)];
    let schema = "message m { optional binary image; optional int64 fine_label; }";
    write(&path, schema, paged().build(), Some(features), &[columns()]);
    let images = open(&path);
    assert_eq!(images.class_names(), ["cat", "dog", "ape"]);
    assert_eq!([0, 1, 2, 3].map(|index| images.label(index)), [Some(1), None, None, Some(0)]);

    let mut wrong = columns();
    wrong[1] = Column::integers([Some(0), Some(1), Some(3), Some(2)]);
    write(&path, schema, paged().build(), Some(features), &[columns(), wrong]);
    let error = refused(&path);
    assert!(error.ends_with("row 6: its class is 3, but must be from 0 to 2"), "{error}");
}

#[test]
fn classes_may_be_texts_or_lists() {
    let at = tempfile::tempdir().unwrap();
    let path = at.path().join("a.parquet");
    let text = ["dog", "cat", "", "dog"].map(|class| Some(class.as_bytes().to_vec()));
    let columns = vec![Column::bytes((0..4).map(|n| Some(png(n))), 1), Column::bytes(text, 1)];
    let schema = "message m { optional binary image; optional binary label (STRING); }";
    write(&path, schema, paged().build(), None, &[columns]);
    let images = open(&path);
    assert_eq!(images.class_names(), ["cat", "dog"]);
    assert_eq!([0, 1, 2, 3].map(|index| images.label(index)), [Some(1), Some(0), None, Some(1)]);

    // Two classes, none, null, one.
    let lists = Column::lists([Some(vec![2, 10]), Some(vec![]), None, Some(vec![2])]);
    let columns = vec![Column::bytes((0..4).map(|n| Some(png(n))), 1), lists];
    let schema = "message m { optional binary image; optional group labels (LIST) { repeated group list { optional \
                  int64 element; } } }";
    write(&path, schema, paged().build(), None, &[columns]);
    let images = open(&path);
    assert!(images.is_multi_label());
    assert_eq!(images.class_names(), ["2", "10"]);
    let labels = [0, 1, 2, 3].map(|index| images.labels(index));
    assert_eq!(labels, [Some(vec![0, 1]), Some(vec![]), None, Some(vec![0])]);
}

#[test]
fn a_folder_of_files_is_one_data_set_and_a_split_is_named() {
    let at = tempfile::tempdir().unwrap();
    let folder = at.path().join("set");
    let one = |name: &str, numbers: std::ops::Range<u8>| {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let columns = vec![Column::bytes(numbers.map(|number| Some(png(number))), 1)];
        write(&path, "message m { optional binary image; }", paged().build(), None, &[columns]);
    };
    one("data/train-00001-of-00002.parquet", 4..6);
    one("data/train-00000-of-00002.parquet", 0..4);
    one(".cache/train-00000-of-00001.parquet", 9..10);
    let all: Vec<_> = (0..6).map(Some).collect();
    assert_eq!(numbers(&*open(&folder)), all);
    assert_eq!(open(&folder).name(4), path_name(folder.join("data/train-00001-of-00002.parquet/0")));
    one("data/test-00000-of-00001.parquet", 6..8);
    let error = refused(&folder);
    let example = path_name(folder.join("test"));
    assert!(
        error.ends_with(&format!("it holds files of several splits: test, train; name one, as in {example}")),
        "{error}"
    );
    assert_eq!(numbers(&*open(&folder.join("train"))), all);
    assert_eq!(numbers(&*open(&folder.join("test"))), [Some(6), Some(7)]);
    assert!(mae_data::images_exist(&folder.join("test")) && !mae_data::images_exist(&folder.join("none")));
    assert!(refused(&folder.join("none")).contains("none"));
    // Splits as sub-folders, which can also be opened as folders.
    one("other/validation/0000.parquet", 0..1);
    one("other/train/0000.parquet", 1..2);
    assert!(refused(&folder.join("other")).contains("train, validation"));
    assert_eq!(numbers(&*open(&folder.join("other/train"))), [Some(1)]);
}

#[test]
fn errors_name_the_columns() {
    let at = tempfile::tempdir().unwrap();
    let path = at.path().join("a.parquet");
    let pngs = || Column::bytes((0..2).map(|n| Some(png(n))), 1);
    write(&path, "message m { optional binary what; }", paged().build(), None, &[vec![pngs()]]);
    let start = format!("cannot read images from {}: ", path_name(&path));
    let expected = "it needs a column of images (bytes called image, img, picture, or a struct with bytes in it), but has: what";
    assert_eq!(refused(&path), format!("{start}{expected}"));

    let schema = "message m { optional binary image; optional double label; }";
    let columns = vec![pngs(), Column::doubles([Some(0.5), None])];
    write(&path, schema, paged().build(), None, &[columns]);
    let error = refused(&path);
    assert!(error.contains("its column label must be of integers or strings"), "{error}");

    write(
        &path,
        "message m { optional binary bytes; optional binary img; }",
        paged().build(),
        None,
        &[vec![Column::bytes((0..2).map(|_| None), 1), pngs()]],
    );
    assert_eq!(numbers(&*open(&path)), [Some(0), Some(1)]);

    write(&path, "message m { optional binary image; }", paged().build(), None, &[]);
    assert_eq!(refused(&path), format!("{start}it has no rows"));

    let other = at.path().join("b.parquet");
    write(&path, "message m { optional binary image; }", paged().build(), None, &[vec![pngs()]]);
    write(
        &other,
        "message m { optional int64 label; optional binary image; }",
        paged().build(),
        None,
        &[vec![Column::integers([Some(1), Some(2)]), pngs()]],
    );
    let error = refused(at.path());
    assert!(
        error.contains("b.parquet") && error.contains("not those of") && error.contains("a.parquet"),
        "{error}"
    );
}

#[test]
fn files_that_are_cut_short_or_damaged_are_errors() {
    let at = tempfile::tempdir().unwrap();
    let whole = at.path().join("whole.parquet");
    let path = at.path().join("a.parquet");
    for properties in [
        paged(),
        paged()
            .set_compression(Compression::SNAPPY)
            .set_dictionary_enabled(true)
            .set_offset_index_disabled(true),
    ] {
        let schema = format!("message m {{ {STRUCT} optional int64 label; }}");
        let columns = vec![
            Column::bytes((0..8).map(|n| Some(png(n))), 2),
            Column::bytes((0..8).map(|n| Some(format!("{n}.png").into())), 2),
            Column::integers((0..8).map(|n| Some(n % 2))),
        ];
        write(&whole, &schema, properties.build(), None, &[columns]);
        let bytes = fs::read(&whole).unwrap();
        for length in (0..bytes.len()).step_by(29) {
            fs::write(&path, &bytes[..length]).unwrap();
            let error = refused(&path);
            assert!(error.contains("a.parquet") && error.lines().count() == 1, "{error}");
        }
        // Damage is an error or goes unnoticed, but never panics.
        let options = FolderOptions { pixels: Some(PixelFormat::Rgb8), ..FolderOptions::default() };
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1 << (place % 8);
            fs::write(&path, damaged).unwrap();
            if let Ok(images) = ParquetImages::open(&path, options.clone()) {
                (0..images.len().min(20)).for_each(|index| drop(images.load(index)));
            }
        }
    }
}
