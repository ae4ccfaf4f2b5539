//! Damaged and hostile TIFF and NumPy files are refused at once, without a panic.

mod pixel_files;

use std::path::Path;

use mae_image::{AnyImage, DecodeLimits, Encoded, ImageError, PixelFormat};
use pixel_files::{
    DEFLATE, GREY, RGB, UNCOMPRESSED, Value, bytes_of, npy, npy_of, numbers, tag, tags, tiff, tiled, zlib,
};

const LIMITS: DecodeLimits = DecodeLimits { max_pixels: u64::MAX, max_bytes: 1 << 20 };

fn decode(file: &[u8], format: &str) -> Result<AnyImage, ImageError> {
    let format: PixelFormat = format.parse()?;
    Encoded::new(Path::new("input"), file.to_vec(), format, &LIMITS)?.decode()
}

/// Sound files of each layout and their formats.
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

#[test]
fn changed_files_do_not_panic() {
    let mut state = 1_u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
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
    // One pixel in a tile of 2^30.
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
