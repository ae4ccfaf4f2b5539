//! Images with label maps: how they are matched, what is refused, and batches of both.

mod masks;

use std::fs;
use std::sync::Arc;

use mae_data::{
    BadFilePolicy, ClassMap, DataError, FolderOptions, IGNORE, ImageFolder, ImageSource, LabelMapOptions,
    LabelMaps, Loader, LoaderConfig, RandomResizedCrop, SegmentTransform, SegmentationFolders, Segmented,
    Subset, TrainTransform, Transform, load_with_map, sample_rng,
};
use masks::{Folders, classes, palette, turned_jpeg};

fn map_of(source: &dyn ImageSource, index: usize) -> Result<Vec<u16>, DataError> {
    load_with_map(source, index).map(|(_, map)| map.into_labels())
}

fn refused(result: Result<impl Sized, DataError>) -> String {
    let error = result.err().unwrap();
    assert!(error.is_of_label_maps(), "{error:?}");
    error.to_string()
}

#[test]
fn images_without_a_label_image_are_left_out_and_counted() {
    let folders = Folders::new();
    for name in ["a/1.jpg", "a/2.png", "b/1.png", "3.png"] {
        folders.image(name, (2, 3));
    }
    folders.mask("a/1.png", (2, 3), &[0, 1, 255, 1, 0, 0]).mask("b/1.TIF", (2, 3), &[1; 6]).mask(
        "b/9.png",
        (1, 1),
        &[0],
    );
    let source = folders.segmented(Some(classes(&["no", "yes"]))).unwrap();
    assert_eq!((source.len(), source.without_map(), source.has_label_maps()), (2, 2, true));
    assert_eq!(source.map_classes(), ["no", "yes"]);
    assert_eq!((source.label(0), source.class_names().len()), (None, 0));
    assert_eq!(source.relative_name(1).unwrap().to_str(), Some("b/1.png"));
    assert_eq!(source.map_path(1).unwrap().to_str(), Some("b/1.TIF"));
    assert_eq!(source.maps_without_image(), [std::path::Path::new("b/9.png")]);
    let (image, map) = load_with_map(&source, 0).unwrap();
    assert_eq!(((image.height(), image.width()), map.size()), ((2, 3), (2, 3)));
    assert_eq!(map.labels(), [0, 1, IGNORE, 1, 0, 0]);
    assert_eq!(map.counts(2), [3, 2]);
    assert!(matches!(load_with_map(&source, 2), Err(DataError::Index { index: 2, len: 2 })));
    // A subset has label maps too.
    let part = Subset::new(Arc::new(source), vec![1]).unwrap();
    assert_eq!((map_of(&part, 0).unwrap(), part.map_classes().len()), (vec![1; 6], 2));
    assert_eq!(part.relative_name(0).unwrap().to_str(), Some("b/1.png"));
    // A source without label maps reports this.
    let images = ImageFolder::open(folders.images(), FolderOptions::default()).unwrap();
    assert!(!images.has_label_maps());
    assert!(refused(load_with_map(&images, 0)).ends_with("has no label map"));
}

#[test]
fn names_follow_from_a_template() {
    let folders = Folders::new();
    folders.image("x/one_leftImg8bit.png", (1, 2)).image("x/two.png", (1, 2));
    folders.mask("x/one_gtFine_labelIds.png", (1, 2), &[0, 1]).mask("x/one.png", (9, 9), &[0; 81]);
    let options = |template: &str, strip: &str| LabelMapOptions {
        template: Some(template.into()),
        strip: strip.into(),
        ..LabelMapOptions::default()
    };
    let map = Some(classes(&["no", "yes"]));
    let source =
        folders.segmented_as(map.clone(), options("{stem}_gtFine_labelIds.png", "_leftImg8bit")).unwrap();
    assert_eq!((source.len(), source.without_map()), (1, 1));
    assert_eq!(map_of(&source, 0).unwrap(), [0, 1]);
    for template in ["mask.png", "/{stem}.png", "../{stem}.png"] {
        let error = folders.segmented_as(map.clone(), options(template, "")).err().unwrap().to_string();
        assert!(
            error.starts_with(&format!("the template of label maps is {template}, but must be")),
            "{error}"
        );
    }
}

#[test]
fn no_overlap_shows_a_name_of_each() {
    let folders = Folders::new();
    folders.image("cat.jpg", (1, 1)).mask("dog.png", (1, 1), &[0]);
    assert!(refused(folders.segmented(Some(classes(&["no", "yes"])))).ends_with(
        "masks: none of 1 images has a label map: cat.jpg needs cat.png or cat.tif or cat.tiff, but there is dog.png"
    ));
    folders.mask("cat.png", (1, 1), &[0]).mask("cat.tif", (1, 1), &[0]);
    assert!(
        refused(folders.segmented(Some(classes(&["no", "yes"]))))
            .ends_with("the image cat.jpg has several label maps, cat.png and cat.tif")
    );
    let empty = Folders::new();
    empty.image("cat.jpg", (1, 1));
    fs::copy(empty.images().join("cat.jpg"), empty.masks().join("cat.jpg")).unwrap();
    assert!(refused(empty.segmented(None)).ends_with(
        "no .png, .tif or .tiff file in it and its sub-folders; its 1 JPEG files cannot be label maps, because JPEG \
         changes values"
    ));
}

#[test]
fn sizes_must_agree_and_turned_images_may_have_either() {
    let folders = Folders::new();
    folders.image("a.png", (2, 3)).mask("a.png", (3, 2), &[0; 6]);
    let source = folders.segmented(Some(classes(&["no", "yes"]))).unwrap();
    let error = refused(map_of(&source, 0));
    let part = "masks/a.png is 3x2, but its image ";
    assert!(error.contains(part) && error.ends_with("images/a.png is 2x3"), "{error}");
    // Stored as 2x3 and shown as 3x2.
    fs::remove_file(folders.images().join("a.png")).unwrap();
    turned_jpeg(&folders.images().join("a.jpg"), (2, 3), 6);
    folders.mask("a.png", (3, 2), &[0, 1, 0, 0, 0, 0]);
    let open = || folders.segmented(Some(classes(&["no", "yes"]))).unwrap();
    assert_eq!(map_of(&open(), 0).unwrap(), [0, 1, 0, 0, 0, 0]);
    // Rotated clockwise: the upper left corner moves to the upper right.
    folders.mask("a.png", (2, 3), &[1, 0, 0, 0, 0, 0]);
    let (image, map) = load_with_map(&open(), 0).unwrap();
    assert_eq!(((image.height(), image.width()), map.size()), ((3, 2), (3, 2)));
    assert_eq!(map.labels(), [0, 1, 0, 0, 0, 0]);
}

#[test]
fn values_that_are_not_in_the_class_map_are_refused_where_they_are() {
    let folders = Folders::new();
    folders.image("a.png", (2, 3)).mask("a.png", (2, 3), &[0, 1, 0, 0, 7, 9]);
    let source = folders.segmented(Some(classes(&["no", "yes"]))).unwrap();
    let error = refused(map_of(&source, 0));
    assert!(error.ends_with("masks/a.png has 7 at (x 1, y 1), but the class map has 0 to 1, 255"), "{error}");
    // The index counts, not the colour.
    palette(&folders.masks().join("a.png"), (2, 3), &[0, 1, 1, 255, 0, 0]);
    assert_eq!(map_of(&source, 0).unwrap(), [0, 1, 1, IGNORE, 0, 0]);
    let rgb = |colours: [[u8; 3]; 6]| {
        let image = image::RgbImage::from_raw(3, 2, colours.concat()).unwrap();
        image.save(folders.masks().join("a.png")).unwrap();
    };
    // Grey values stored as RGB.
    rgb([[1; 3], [0; 3], [0; 3], [0; 3], [255; 3], [0; 3]]);
    assert_eq!(map_of(&source, 0).unwrap(), [1, 0, 0, 0, IGNORE, 0]);
    let voc = folders.segmented(Some(ClassMap::voc())).unwrap();
    rgb([[0; 3], [128, 0, 0], [0; 3], [224, 224, 192], [0; 3], [0; 3]]);
    assert_eq!(map_of(&voc, 0).unwrap(), [0, 1, 0, IGNORE, 0, 0]);
    assert!(refused(map_of(&source, 0)).ends_with("give classes colours"));
    rgb([[0; 3], [0; 3], [1, 2, 3], [0; 3], [0; 3], [0; 3]]);
    let error = refused(map_of(&voc, 0));
    assert!(error.contains("has #010203 at (x 2, y 0), but the class map has #000000, "), "{error}");
}

#[test]
fn without_a_class_map_every_value_is_a_class() {
    let folders = Folders::new();
    folders.image("a.png", (1, 3)).image("b.png", (1, 3));
    folders.mask("a.png", (1, 3), &[0, 255, 0]).mask("b.png", (1, 3), &[255, 255, 255]);
    let both = folders.segmented(None).unwrap();
    assert_eq!(both.map_classes(), ["0", "255"]);
    assert_eq!(map_of(&both, 0).unwrap(), [0, 1, 0]);
    folders.mask("b.png", (1, 3), &[40, 3, 255]);
    let source = folders.segmented(None).unwrap();
    assert_eq!(source.map_classes(), ["0", "3", "40"]);
    assert_eq!(map_of(&source, 1).unwrap(), [2, 1, IGNORE]);
    folders.mask("a.png", (1, 3), &[3, 3, 3]).mask("b.png", (1, 3), &[255, 3, 3]);
    assert!(refused(folders.segmented(None)).ends_with("it has 1 class(es), but must have 2 to 65534"));
}

/// Four images, each with one label in all pixels.
fn labelled() -> Folders {
    let folders = Folders::new();
    for index in 0..4_u8 {
        folders.image(&format!("{index}.png"), (20, 30)).mask(
            &format!("{index}.png"),
            (20, 30),
            &[index; 600],
        );
    }
    folders
}

fn loader(source: Segmented, repeats: usize) -> Result<Loader, DataError> {
    let transform = Arc::new(SegmentTransform::new((16, 24)).unwrap());
    let config = LoaderConfig {
        batch_size: 4 * repeats,
        repeats,
        workers: 2,
        bad_files: BadFilePolicy::Skip { max_share: 1.0 },
        ..LoaderConfig::default()
    };
    Loader::new(Arc::new(source), transform, config)
}

#[test]
fn a_batch_has_the_label_maps_of_its_samples() {
    let folders = labelled();
    let open = || folders.segmented(Some(classes(&["a", "b", "c", "d"]))).unwrap();
    for repeats in [1, 2] {
        let batch = loader(open(), repeats).unwrap().epoch(3).unwrap().next().unwrap().unwrap();
        let maps = batch.maps.as_ref().unwrap();
        assert_eq!((batch.shape, maps.len()), ([4 * repeats, 3, 16, 24], 4 * repeats * 16 * 24));
        assert_eq!(batch.labels, None);
        let source = open();
        let transform = SegmentTransform::new((16, 24)).unwrap();
        for (at, (pass, index)) in batch.samples().enumerate() {
            let map = &maps[at * 384..][..384];
            assert!(map.iter().all(|label| *label == index as u16 || *label == IGNORE));
            // A sample depends only on seed, pass and index.
            let (image, whole) = load_with_map(&source, index).unwrap();
            let joint = transform.joint().unwrap();
            let (image, seen) =
                joint.apply_both(image.into(), &whole, &mut sample_rng(0, pass, index)).unwrap();
            assert_eq!(map, seen.labels());
            assert_eq!(batch.images[at * 3 * 384..][..3 * 384], image.planes());
        }
    }
    // A transform of images alone reads no label maps.
    let transform = TrainTransform::new((16, 24), RandomResizedCrop::default()).unwrap();
    let config = LoaderConfig { batch_size: 4, ..LoaderConfig::default() };
    fs::write(folders.masks().join("0.png"), b"damaged").unwrap();
    let batches = Loader::new(Arc::new(open()), Arc::new(transform), config).unwrap().epoch(0).unwrap();
    assert!(batches.map(Result::unwrap).all(|batch| batch.maps.is_none()));
}

#[test]
fn a_bad_label_image_stops_a_run_and_a_bad_image_does_not() {
    let folders = labelled();
    let open = || folders.segmented(Some(classes(&["a", "b", "c", "d"]))).unwrap();
    fs::write(folders.images().join("2.png"), &fs::read(folders.images().join("2.png")).unwrap()[..60])
        .unwrap();
    let images = loader(open(), 1).unwrap();
    let batch = images.epoch(0).unwrap().next().unwrap().unwrap();
    assert!(!batch.indices.contains(&2) && images.bad_files().len() == 1);
    assert_eq!(batch.maps.unwrap().len(), 4 * 16 * 24);
    for damage in [&b"damaged"[..], &fs::read(folders.masks().join("1.png")).unwrap()[..50]] {
        fs::write(folders.masks().join("3.png"), damage).unwrap();
        let error = loader(open(), 1).unwrap().epoch(0).unwrap().next().unwrap();
        let error = refused(error);
        assert!(error.starts_with("cannot read the label map ") && error.ends_with("masks/3.png"), "{error}");
    }
}

#[test]
fn images_without_label_maps_are_no_match_for_a_joint_transform() {
    let folders = labelled();
    let images = Arc::new(ImageFolder::open(folders.images(), FolderOptions::default()).unwrap());
    let transform = Arc::new(SegmentTransform::new((16, 24)).unwrap());
    let config = LoaderConfig { batch_size: 2, ..LoaderConfig::default() };
    let error = Loader::new(images, transform, config).err().unwrap().to_string();
    assert_eq!(
        error,
        "the data set is one without label maps, but must be one with a label map for each image, as the transform \
         needs"
    );
}

#[test]
fn data_sets_are_found_as_they_are_distributed() {
    let root = tempfile::tempdir().unwrap();
    let make = |path: &str| fs::create_dir_all(root.path().join(path)).unwrap();
    assert_eq!(SegmentationFolders::find(root.path(), "train"), None);
    make("val/images");
    make("val/masks");
    let own = SegmentationFolders::find(root.path(), "val").unwrap();
    assert_eq!((own.classes, own.list, own.maps), (None, None, root.path().join("val/masks")));
    let classes = root.path().join("classes.toml");
    fs::write(&classes, "").unwrap();
    assert_eq!(SegmentationFolders::find(root.path(), "val").unwrap().classes.as_ref(), Some(&classes));
    assert!(refused(ClassMap::open(&classes)).contains("missing field `class`"));
    fs::remove_file(&classes).unwrap();
    make("images/training");
    make("annotations/training");
    let ade = SegmentationFolders::find(root.path(), "train").unwrap();
    assert_eq!((ade.classes, ade.images), (Some("ade20k".into()), root.path().join("images/training")));
    make("JPEGImages");
    make("SegmentationClass");
    make("ImageSets/Segmentation");
    let list = root.path().join("ImageSets/Segmentation/train.txt");
    fs::write(&list, "2007_000032\n2007_000042\n").unwrap();
    let voc = SegmentationFolders::find(root.path(), "train").unwrap();
    assert_eq!((voc.classes, voc.list.as_ref()), (Some("voc".into()), Some(&list)));
    for name in ["2007_000027", "2007_000032", "2007_000042", "2007_000061"] {
        image::RgbImage::new(2, 2).save(voc.images.join(format!("{name}.jpg"))).unwrap();
        palette(&voc.maps.join(format!("{name}.png")), (2, 2), &[0, 15, 255, 0]);
    }
    fs::remove_file(voc.maps.join("2007_000061.png")).unwrap();
    let open = || {
        let images = Arc::new(ImageFolder::open(&voc.images, FolderOptions::default()).unwrap());
        let maps = LabelMaps::open(&voc.maps, Some(ClassMap::voc()), LabelMapOptions::default()).unwrap();
        Segmented::new(images, maps).unwrap()
    };
    let source = open().listed(&list).unwrap();
    assert_eq!((source.len(), source.relative_name(0).unwrap().to_str()), (2, Some("2007_000032.jpg")));
    assert_eq!(map_of(&source, 1).unwrap(), [0, 15, IGNORE, 0]);
    fs::write(&list, "2007_000032\n\n2007_000061\n").unwrap();
    let error = refused(open().listed(&list));
    assert!(error.ends_with("line 3: there is no image 2007_000061 with a label map"), "{error}");
    // Two images with the same name apart from the extension.
    image::RgbImage::new(2, 2).save(voc.images.join("2007_000032.png")).unwrap();
    fs::write(&list, "2007_000042\n2007_000032\n").unwrap();
    let error = refused(open().listed(&list));
    assert!(error.contains("line 2: 2007_000032 may be ") && error.ends_with("add the extension"), "{error}");
    fs::write(&list, "2007_000042\n2007_000032.png\n").unwrap();
    assert_eq!(open().listed(&list).unwrap().len(), 2);
    fs::remove_file(voc.images.join("2007_000032.png")).unwrap();
    fs::write(&list, "\n").unwrap();
    assert!(refused(open().listed(&list)).ends_with("it names no image"));
    assert!(refused(open().listed("missing.txt")).starts_with("cannot use the label maps missing.txt: "));
}
