//! Damaged and hostile TIFF and NumPy files are refused at once, without a panic.

mod pixel_files;

use std::path::Path;

use mae_image::{AnyImage, Crop, DecodeLimits, Encoded, ImageError, PixelFormat};
use pixel_files::{
    DEFLATE, GREY, RGB, UNCOMPRESSED, Value, bytes_of, cut, npy, npy_of, numbers, tag, tags, tiff, tiled,
    zlib,
};

const LIMITS: DecodeLimits = DecodeLimits { max_pixels: u64::MAX, max_bytes: 1 << 20 };

fn decode(file: &[u8], format: &str) -> Result<AnyImage, ImageError> {
    let format: PixelFormat = format.parse()?;
    Encoded::new(Path::new("input"), file.to_vec(), format, &LIMITS)?.decode()
}

/// Valid files of each layout and their formats.
fn sound() -> Vec<(Vec<u8>, &'static str)> {
    let wide = bytes_of(&numbers(5, 7, 2));
    let planar = [tags([5, 7, 2, 16, UNCOMPRESSED, GREY]), vec![tag(284, 2)]].concat();
    let planar = tiff(&planar, &[wide[..70].to_vec(), wide[70..].to_vec()]);
    let floats = [tags([5, 7, 1, 32, DEFLATE, GREY]), vec![tag(339, 3), tag(317, 3)]].concat();
    let no_data = [tags([5, 7, 2, 16, DEFLATE, GREY]), vec![(42113, Value::Text("-9999"))]].concat();
    vec![
        (planar, "u16x2"),
        (tiff(&floats, &[zlib(&wide)]), "f32x1"),
        (tiff(&no_data, &[zlib(&wide)]), "f32x2"),
        (tiled([9, 5, 5], RGB), "u16x5"),
        (npy("<u2", &[5, 7, 2], &wide), "u16x2"),
    ]
}

#[test]
fn a_file_cut_short_is_never_read_as_if_it_were_whole() {
    for (file, format) in sound() {
        let whole = format!("{:?}", decode(&file, format).unwrap());
        for length in 1..file.len() {
            match decode(&file[..length], format) {
                Ok(cut) => assert_eq!(format!("{cut:?}"), whole, "{format} cut to {length}"),
                Err(ImageError::Decode { .. } | ImageError::NotAnImage { .. }) => {}
                Err(other) => panic!("{format} cut to {length}: {other:?}"),
            }
        }
    }
}

/// Decodes a window that takes less memory than the file is long, so that the file stays on disk and is read in parts.
/// Checks that decoding from memory gives the same.
fn window(path: &Path, file: &[u8], format: &str, crop: Crop) -> Result<AnyImage, ImageError> {
    // Some file systems wait for the disk when a file is overwritten.
    let _ = std::fs::remove_file(path);
    std::fs::write(path, file).unwrap();
    let format = format.parse()?;
    let limits = DecodeLimits { max_bytes: 40, ..LIMITS };
    let decode =
        |encoded: Result<Encoded, _>| Ok::<_, ImageError>(encoded?.decode_part(crop, Vec::new())?.pixels);
    let stored = decode(Encoded::read(path, format, &limits));
    let memory = decode(Encoded::new(path, file.to_vec(), format, &limits));
    match (&stored, &memory) {
        (Ok(stored), Ok(memory)) => assert_equal(stored, memory),
        // Colours are computed from the whole file.
        (Err(ImageError::FileTooLarge { .. }), _) => {}
        (Err(stored), Err(memory)) => assert_eq!(format!("{stored:?}"), format!("{memory:?}")),
        _ => panic!("from the file {stored:?}, from memory {memory:?}"),
    }
    stored
}

/// Checks equality to the bit.
fn assert_equal(a: &AnyImage, b: &AnyImage) {
    let [a, b] = [a, b].map(|image| (image.height(), image.width(), image.channels(), image.planes()));
    assert_eq!(a, b);
}

#[test]
fn a_window_of_a_file_cut_short_is_whole_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input");
    let mut file = tiled([20, 35, 5], GREY);
    // The last of six tiles now lies after the tags: a cut first removes that tile alone.
    let (tags_end, tile) = (file.len(), zlib(&[0; 16 * 16 * 5 * 2]).len());
    let last = 8 + 5 * tile;
    let listed = file.windows(4).rposition(|bytes| bytes == (last as u32).to_le_bytes()).unwrap();
    file[listed..listed + 4].copy_from_slice(&(tags_end as u32).to_le_bytes());
    file.extend_from_within(last..last + tile);
    let whole = decode(&file, "u16x5").unwrap();
    let [others, on_it] = [31, 32].map(|left| Crop { top: 17, left, height: 3, width: 1 });
    let tags = tags_end - 300..tags_end + 20;
    for length in (41..tags.start).step_by(97).chain(tags.clone()).chain((tags.end..file.len()).step_by(97)) {
        let others_read = window(&path, &file[..length], "u16x5", others);
        if length < tags_end {
            assert!(
                matches!(others_read, Err(ImageError::Decode { .. })),
                "cut to {length}: {others_read:?}"
            );
        } else {
            assert_equal(&others_read.unwrap(), &cut(&whole, others));
        }
        let read = window(&path, &file[..length], "u16x5", on_it);
        assert!(matches!(read, Err(ImageError::Decode { .. })), "cut to {length}: {read:?}");
    }
    assert_equal(&window(&path, &file, "u16x5", on_it).unwrap(), &cut(&whole, on_it));
}

/// A hostile file may declare any number of bytes, all of them in a hole of the file.
#[test]
fn lists_and_strips_of_any_length_take_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input");
    let refusal = |tags: &[(u16, u32)], patch: (u16, u32)| {
        let mut file =
            tiff(&tags.iter().map(|(number, value)| tag(*number, *value)).collect::<Vec<_>>(), &[vec![0]]);
        // For the offsets, patch the number of values: their old value becomes their position. For the lengths, patch
        // the one value.
        let (number, value) = patch;
        let entry =
            file.windows(4).rposition(|bytes| bytes == [number as u8, (number >> 8) as u8, 4, 0]).unwrap();
        if number == 273 {
            file[entry + 4..entry + 8].copy_from_slice(&value.to_le_bytes());
        } else {
            file[entry + 8..entry + 12].copy_from_slice(&value.to_le_bytes());
        }
        std::fs::write(&path, &file).unwrap();
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 30).unwrap();
        let crop = Crop { top: 0, left: 0, height: 1, width: 1 };
        let encoded = Encoded::read(&path, "u8x1".parse().unwrap(), &LIMITS);
        encoded.and_then(|encoded| encoded.decode_part(crop, Vec::new())).unwrap_err().to_string()
    };
    let strips = 1 << 27;
    let listed = refusal(&[(256, 1), (257, strips), (258, 8), (259, 1), (262, 1), (278, 1)], (273, strips));
    assert!(listed.contains("a TIFF image with tags of 536870912 bytes"), "{listed}");
    let packed = refusal(&[(256, 1), (257, 1), (258, 8), (259, 8), (262, 1)], (279, 1 << 29));
    assert!(packed.contains("a TIFF image with a strip of 536870912 packed bytes"), "{packed}");
}

#[test]
fn changed_files_do_not_panic() {
    let mut state = 1_u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input");
    let (mut read, mut refused) = (0, 0);
    for (file, format) in sound() {
        for _ in 0..3_000 {
            let mut changed = file.clone();
            for _ in 0..1 + random() % 4 {
                // The tags of a TIFF file are near its end, the header of an array near its start.
                let at = match random() % 3 {
                    0 => random() % changed.len().min(150),
                    1 => changed.len() - 1 - random() % changed.len().min(250),
                    _ => random() % changed.len(),
                };
                changed[at] = [0, 1, 0x7f, 0x80, 0xff, random() as u8][random() % 6];
            }
            let whole = decode(&changed, format);
            if changed.starts_with(b"II*\0") {
                let (height, width) = whole.as_ref().map_or((5, 5), |image| (image.height(), image.width()));
                let crop = Crop { top: random() % height, left: random() % width, height: 1, width: 1 };
                let part = window(&path, &changed, format, crop);
                match (whole, part) {
                    // The crop may lie beside the damage.
                    (Err(_), _) | (_, Err(ImageError::FileTooLarge { .. })) => {}
                    (Ok(whole), part) => assert_equal(&part.unwrap(), &cut(&whole, crop)),
                }
            }
            for format in [format, "rgb8"] {
                match decode(&changed, format) {
                    Ok(_) => read += 1,
                    Err(_) => refused += 1,
                }
            }
        }
    }
    assert!(read > 1_000 && refused > 1_000, "{read} read, {refused} refused");
}

/// The bytes that a refused image would take.
fn too_large(file: &[u8], limits: &DecodeLimits) -> u64 {
    let format = PixelFormat::Stored { pixel_type: mae_image::PixelType::U8, channels: 1 };
    let encoded = Encoded::new(Path::new("input"), file.to_vec(), format, limits);
    match encoded.and_then(Encoded::decode).map(|_| ()) {
        Err(ImageError::TooManyBytes { bytes, .. }) => bytes,
        other => panic!("{other:?}"),
    }
}

#[test]
fn sizes_beyond_all_ranges_are_refused() {
    let most = u32::MAX;
    let huge = |compression| {
        let huge = [(256, most), (257, most), (258, 64), (259, compression), (262, 1), (277, 65535)];
        tiff(&huge.map(|(number, value)| tag(number, value)), &[vec![0]])
    };
    for compression in [1, 5, 8] {
        let file = huge(compression);
        assert!(too_large(&file, &LIMITS) > 1 << 60);
        assert!(too_large(&file, &DecodeLimits { max_bytes: u64::MAX, ..LIMITS }) > 1 << 60);
    }
    // One pixel in a tile of 2^30 pixels.
    let tile =
        [(256, 1), (257, 1), (258, 32), (259, 8), (262, 1), (317, 3), (339, 3), (322, 1 << 30), (323, 1)];
    assert_eq!(
        too_large(&tiff(&tile.map(|(number, value)| tag(number, value)), &[vec![0]]), &LIMITS),
        4 << 30
    );
}

#[test]
fn limits_hold_to_the_byte() {
    for (file, format) in sound() {
        let image = decode(&file, format).unwrap();
        let numbers = image.height() * image.width() * image.channels();
        let bytes = (numbers * image.pixel_type().bytes()) as u64;
        assert_eq!(too_large(&file, &DecodeLimits { max_bytes: bytes - 1, ..LIMITS }), bytes);
        let limits = DecodeLimits { max_bytes: bytes, ..LIMITS };
        let format = format.parse().unwrap();
        assert_eq!(
            Encoded::new(Path::new("input"), file, format, &limits).unwrap().decode().unwrap().height(),
            image.height()
        );
    }
}

#[test]
fn pages_in_a_circle_end() {
    // All pages are thumbnails, and the first is its own successor.
    let mut file = tiff(&[tags([1, 1, 1, 8, UNCOMPRESSED, GREY]), vec![tag(254, 1)]].concat(), &[vec![7]]);
    let (length, first) = (file.len(), file[4..8].to_vec());
    file[length - 4..].copy_from_slice(&first);
    assert_eq!(decode(&file, "u8x1").unwrap().into_u8().unwrap().data(), [7]);
}

#[test]
fn numpy_headers_that_cannot_be_parsed_are_refused() {
    let far =
        "{'descr': '|u1', 'fortran_order': False, 'shape': (9223372036854775807, 9223372036854775807, 9), }";
    for header in [
        far,
        "",
        "{",
        "{}",
        "{'descr': '|u1'}",
        "{'descr': '|u1', 'fortran_order': Maybe, 'shape': (1, 1)}",
        "{'descr': '|u1', 'fortran_order': True, 'shape': (1, -1)}",
        "{'descr': '|u1', 'fortran_order': True, 'shape': (1, 99999999999999999999)}",
        "{'descr': '|u1', 'fortran_order': True, 'shape': (1, 1",
        "{'descr': '|u1', 'fortran_order': True, 'shape': (4294967295, 4294967295)}",
        "{'descr': '|u1', 'other': 3}",
    ] {
        let read = decode(&npy_of(header, &[]), "u8x1");
        assert!(matches!(read, Err(ImageError::Decode { .. })), "{header}: {read:?}");
    }
    let fine = npy_of("{\"shape\":(1L,2L),'fortran_order':True,'descr':'|u1'}\n", &[3, 4]);
    assert_eq!(decode(&fine, "u8x1").unwrap().into_u8().unwrap().data(), [3, 4]);
}
