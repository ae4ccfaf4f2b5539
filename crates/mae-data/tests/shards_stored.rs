//! Shards of images that are not 8-bit RGB: as NumPy files, and as files of other tools.

use std::fs;
use std::path::Path;

use image::{EncodableLayout, ImageBuffer, Luma, PixelWithColorType, Rgb, RgbImage, Rgba};
use mae_data::{
    AnyImage, EvalTransform, FolderOptions, Image, ImageFolder, ImageSource, PackOptions, PixelFormat,
    ShardSource, Store, Transform, open_images, pack, sample_rng,
};

fn options(store: Store) -> PackOptions {
    PackOptions { short_side_px: 16, store, images_per_shard: 3, threads: 2 }
}

fn reading(pixels: Option<PixelFormat>) -> FolderOptions {
    FolderOptions { pixels, ..FolderOptions::default() }
}

/// Two images of 4x3 and one of 1x3, with four channels of 16 bits.
fn deep_images(folder: &Path) -> ImageFolder {
    for (seed, name, height) in [(0, "cat/a.png", 4), (1, "dog/b.png", 4), (2, "flat.png", 1)] {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let image: ImageBuffer<Rgba<u16>, _> = ImageBuffer::from_fn(3, height, |x, y| {
            Rgba([1, 2, 3, 4].map(|channel| (seed * 20000 + y * 4000 + x * 300 + channel * 7) as u16))
        });
        image.save(path).unwrap();
    }
    ImageFolder::open(folder, reading(Some("u16x4".parse().unwrap()))).unwrap()
}

#[test]
fn deep_images_are_packed_as_numpy_files() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = deep_images(&temporary.path().join("images"));
    let out = temporary.path().join("packed");
    let refusal =
        |folder: &ImageFolder, store| pack(folder, &out, &options(store), |_, _| ()).unwrap_err().to_string();
    let expected = |store| {
        format!("store is {store}, but must be npy for images of u16x4, or let them be decoded to rgb8")
    };
    assert_eq!(refusal(&folder, Store::Ppm), expected("ppm"));
    assert_eq!(refusal(&folder, Store::Jpeg { quality: 90 }), expected("jpeg"));
    let rgb = ImageFolder::open(folder.root(), FolderOptions::default()).unwrap();
    assert_eq!(refusal(&rgb, Store::Npy), "store is npy, but must be jpeg or ppm for images of rgb8");
    assert!(!out.exists());

    let packed = pack(&folder, &out, &options(Store::Npy), |_, _| ()).unwrap();
    assert_eq!((packed.images, packed.unreadable.len()), (2, 1));
    let reason = &packed.unreadable[0].reason;
    assert!(reason.contains("flat.png, 1x3, in the requested format: "), "{reason}");
    assert!(reason.ends_with("a NumPy file of 4 channels needs at least 4 rows"), "{reason}");
    let shard = fs::File::open(out.join("images-000000.tar")).unwrap();
    for entry in tar::Archive::new(shard).entries().unwrap() {
        let (mut entry, mut bytes) = (entry.unwrap(), Vec::new());
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        std::io::copy(&mut entry, &mut bytes).unwrap();
        let Some(key) = name.strip_suffix(".npy") else {
            assert!(name.ends_with(".cls"), "{name}");
            continue;
        };
        let header = "{'descr': '<u2', 'fortran_order': False, 'shape': (4, 3, 4), }";
        assert_eq!(&bytes[10..][..header.len()], header.as_bytes());
        let AnyImage::U16(image) = folder.load(key.parse().unwrap()).unwrap() else { panic!("{name}") };
        let numbers: Vec<u8> = image.data().iter().flat_map(|number| number.to_le_bytes()).collect();
        assert!(bytes[128..] == numbers, "{name}");
    }
}

#[test]
fn shards_hold_any_pixels() {
    let temporary = tempfile::tempdir().unwrap();
    let images = temporary.path().join("images");
    let folder = deep_images(&images);
    let tars = temporary.path().join("tars");
    fs::create_dir(&tars).unwrap();
    let grey: ImageBuffer<Luma<u16>, _> = ImageBuffer::from_raw(2, 1, vec![258, 65535]).unwrap();
    grey.save(temporary.path().join("grey.png")).unwrap();
    let file = |path: &Path| fs::read(path).unwrap();
    let files = [file(&images.join("cat/a.png")), file(&images.join("dog/b.png"))];
    fs::write(tars.join("0.tar"), tar_of(&[("1.png", &files[0]), ("2.png", &files[1])])).unwrap();
    let shards = open_images(&tars, reading(Some("u16x4".parse().unwrap()))).unwrap();
    for index in 0..2 {
        assert_eq!(shards.load(index).unwrap(), folder.load(index).unwrap());
    }
    // Alpha is dropped unless it is requested.
    let shards = open_images(&tars, reading(None)).unwrap();
    assert_eq!(shards.pixels().to_string(), "u16x3");
    assert!(matches!(shards.load(0), Ok(AnyImage::U16(_))));
    assert_eq!(ShardSource::open(&tars, FolderOptions::default()).unwrap().pixels(), PixelFormat::Rgb8);

    let grey = file(&temporary.path().join("grey.png"));
    fs::write(tars.join("0.tar"), tar_of(&[("1.png", &grey), ("2.png", &grey), ("1.npy", b"a feature")]))
        .unwrap();
    let shards = ShardSource::open(&tars, reading(None)).unwrap();
    assert_eq!((shards.pixels().to_string().as_str(), shards.len()), ("u16x1", 2));
    assert_eq!(shards.load(1).unwrap(), Image::new(1, 2, 1, vec![258_u16, 65535]).unwrap().into());
    assert_eq!(shards.passed_over().files, [(".npy".to_owned(), 1)].into());

    let arrays = [("1.npy", &b"no array"[..]), ("1.cls", b"1"), ("2.v2.npy", b""), ("3.npy", b"")];
    fs::write(tars.join("0.tar"), tar_of(&arrays)).unwrap();
    let shards = ShardSource::open(&tars, FolderOptions::default()).unwrap();
    assert_eq!((shards.len(), shards.label(0), shards.label(1)), (2, Some(1), None));
    let passed_over = ("files with several dots in their names .npy".to_owned(), 1);
    assert_eq!(shards.passed_over().files, [passed_over].into());
}

#[test]
fn plain_pixels_are_read_as_they_are_stored_too() {
    let temporary = tempfile::tempdir().unwrap();
    let (images, out) = (temporary.path().join("images"), temporary.path().join("packed"));
    fs::create_dir(&images).unwrap();
    RgbImage::from_fn(30, 20, |x, y| Rgb([x, y, x * y].map(|value| value as u8)))
        .save(images.join("1.png"))
        .unwrap();
    let folder = ImageFolder::open(&images, FolderOptions::default()).unwrap();
    pack(&folder, &out, &options(Store::Ppm), |_, _| ()).unwrap();
    let rgb = ShardSource::open(&out, FolderOptions::default()).unwrap();
    let stored = ShardSource::open(&out, reading(Some("u8x3".parse().unwrap()))).unwrap();
    assert_eq!(ShardSource::open(&out, reading(None)).unwrap().pixels(), PixelFormat::Rgb8);
    assert_eq!(stored.load(0).unwrap(), rgb.load(0).unwrap());
}

/// Writes a folder of images of 40x60 and 10x9. `number` gives the value of each pixel and channel.
fn painted<P>(folder: &Path, extension: &str, number: impl Fn(u32) -> P::Subpixel)
where
    P: PixelWithColorType,
    [P::Subpixel]: EncodableLayout,
{
    for (name, class, height, width) in [("a", "cat", 40, 60), ("b", "dog", 10, 9), ("c", "cat", 40, 60)] {
        let path = folder.join(class).join(name).with_extension(extension);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let numbers = u32::from(P::CHANNEL_COUNT) * height * width;
        let data: Vec<_> =
            (0..numbers).map(|at| number(at * 7919 % 65521 + name.as_bytes()[0] as u32)).collect();
        ImageBuffer::<P, _>::from_raw(width, height, data).unwrap().save(path).unwrap();
    }
}

#[test]
fn packed_images_of_any_pixels_are_those_of_the_folder_resized_once() {
    let temporary = tempfile::tempdir().unwrap();
    let at = |name: &str| temporary.path().join(name);
    painted::<Luma<u8>>(&at("u8x1"), "png", |number| number as u8);
    painted::<Rgba<u8>>(&at("u8x4"), "png", |number| number as u8);
    painted::<Luma<u16>>(&at("u16x1"), "png", |number| number as u16);
    painted::<Rgba<u16>>(&at("u16x4"), "png", |number| number as u16);
    painted::<Rgb<f32>>(&at("f32x3"), "tif", |number| number as f32 / 7.0 - 100.0);
    let resized = EvalTransform::new((16, 24), None).unwrap();
    for name in ["u8x1", "u8x4", "u16x1", "u16x4", "f32x3"] {
        let pixels: PixelFormat = name.parse().unwrap();
        let folder = ImageFolder::open(at(name), reading(Some(pixels))).unwrap();
        let out = at(&format!("packed-{name}"));
        let packed = pack(&folder, &out, &options(Store::Npy), |_, _| ()).unwrap();
        assert_eq!((packed.images, &packed.unreadable[..]), (3, &[][..]));
        assert_eq!(open_images(&out, reading(None)).unwrap().pixels(), pixels);
        let shards = open_images(&out, reading(Some(pixels))).unwrap();
        // Without the index, NumPy files in a tar file are images too.
        let tars = at(&format!("tars-{name}"));
        fs::create_dir(&tars).unwrap();
        fs::copy(out.join("images-000000.tar"), tars.join("0.tar")).unwrap();
        let tars = open_images(&tars, reading(Some(pixels))).unwrap();
        for index in 0..3 {
            let mut expected = folder.load(index).unwrap();
            if expected.height() == 40 {
                expected = resized.apply(expected, &mut sample_rng(0, 0, 0));
            }
            assert_eq!(expected.pixel_type(), pixels.pixel_type());
            assert_eq!(shards.load(index).unwrap(), expected, "{}", shards.name(index));
            assert_eq!(shards.label(index), folder.label(index));
            let entry = format!("{index:08}.npy");
            let entry = (0..3).find(|place| tars.name(*place).ends_with(&entry)).unwrap();
            assert_eq!(tars.load(entry).unwrap(), expected);
        }
    }
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
