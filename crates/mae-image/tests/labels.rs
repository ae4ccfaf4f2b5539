//! Label images are read as their stored values, whatever they look like.

#[allow(dead_code, reason = "other tests use the rest")]
mod pixel_files;

use std::path::{Path, PathBuf};

use image::metadata::Orientation;
use mae_image::{AnyImage, DecodeLimits, Encoded, Image, ImageError, decode_labels};
use pixel_files::{DEFLATE, GREY, RGB, UNCOMPRESSED, Value, bytes_of, numbers, tag, tags, tiff, tiled, zlib};
use png::{BitDepth, ColorType};

/// The TIFF code of palette colours.
const PALETTE: u32 = 3;

fn decode(file: &[u8]) -> Result<AnyImage, ImageError> {
    decode_within(file, &DecodeLimits::default())
}

fn decode_within(file: &[u8], limits: &DecodeLimits) -> Result<AnyImage, ImageError> {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("labels");
    std::fs::write(&path, file).unwrap();
    decode_labels(Path::new(&path), limits)
}

/// A PNG file of packed rows. A palette, if any, has as many greens as the depth allows.
fn png(size: (u32, u32), kind: ColorType, depth: BitDepth, data: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, size.1, size.0);
    encoder.set_color(kind);
    encoder.set_depth(depth);
    if kind == ColorType::Indexed {
        let colours = 1_usize << (depth as usize);
        encoder.set_palette((0..colours).flat_map(|at| [0, at as u8, 0]).collect::<Vec<u8>>());
    }
    encoder.write_header().unwrap().write_image_data(data).unwrap();
    file
}

fn bytes(height: usize, width: usize, channels: usize, data: &[u8]) -> AnyImage {
    Image::new(height, width, channels, data.to_vec()).unwrap().into()
}

#[test]
fn grey_and_indices_of_any_depth_are_not_stretched() {
    for kind in [ColorType::Grayscale, ColorType::Indexed] {
        // The rest of a row's last byte is not part of the image.
        let one = png((2, 3), kind, BitDepth::One, &[0b1011_1111, 0b0101_1111]);
        assert_eq!(decode(&one).unwrap(), bytes(2, 3, 1, &[1, 0, 1, 0, 1, 0]), "{kind:?}");
        let two = png((2, 5), kind, BitDepth::Two, &[0b0001_1011, 0b1000_0000, 0b1110_0100, 0b0111_1111]);
        assert_eq!(decode(&two).unwrap(), bytes(2, 5, 1, &[0, 1, 2, 3, 2, 3, 2, 1, 0, 1]), "{kind:?}");
        let four = png((1, 3), kind, BitDepth::Four, &[0xf0, 0x7f]);
        assert_eq!(decode(&four).unwrap(), bytes(1, 3, 1, &[15, 0, 7]), "{kind:?}");
        let eight = png((1, 3), kind, BitDepth::Eight, &[255, 0, 9]);
        assert_eq!(decode(&eight).unwrap(), bytes(1, 3, 1, &[255, 0, 9]), "{kind:?}");
    }
    let sixteen = png((1, 2), ColorType::Grayscale, BitDepth::Sixteen, &[1, 2, 255, 255]);
    assert_eq!(decode(&sixteen).unwrap(), Image::new(1, 2, 1, vec![258_u16, 65535]).unwrap().into());
}

#[test]
fn colours_stay_and_alpha_does_not() {
    let rgb = png((1, 2), ColorType::Rgb, BitDepth::Eight, &[1, 2, 3, 4, 5, 6]);
    assert_eq!(decode(&rgb).unwrap(), bytes(1, 2, 3, &[1, 2, 3, 4, 5, 6]));
    let rgba = png((1, 2), ColorType::Rgba, BitDepth::Eight, &[1, 2, 3, 0, 4, 5, 6, 255]);
    assert_eq!(decode(&rgba).unwrap(), bytes(1, 2, 3, &[1, 2, 3, 4, 5, 6]));
    let grey = png((1, 2), ColorType::GrayscaleAlpha, BitDepth::Eight, &[7, 0, 8, 255]);
    assert_eq!(decode(&grey).unwrap(), bytes(1, 2, 1, &[7, 8]));
    let deep = png((1, 1), ColorType::Rgb, BitDepth::Sixteen, &[0; 6]);
    let error = decode(&deep).unwrap_err().to_string();
    assert!(error.contains("colours of 16 bits, which is not supported"), "{error}");
}

#[test]
fn tiff_files_have_numbers_of_many_types() {
    let wide = numbers(5, 7, 1);
    let of_16 = |photometric| tiff(&tags([5, 7, 1, 16, UNCOMPRESSED, photometric]), &[bytes_of(&wide)]);
    let expected: AnyImage = Image::new(5, 7, 1, wide.clone()).unwrap().into();
    assert_eq!(decode(&of_16(GREY)).unwrap(), expected);
    assert_eq!(decode(&of_16(PALETTE)).unwrap(), expected);
    let narrow: Vec<u8> = (0..35).collect();
    let palette = tiff(&tags([5, 7, 1, 8, DEFLATE, PALETTE]), &[zlib(&narrow)]);
    assert_eq!(decode(&palette).unwrap(), bytes(5, 7, 1, &narrow));
    let signed: Vec<u8> = [-1, 70_000, 3].iter().flat_map(|number: &i32| number.to_le_bytes()).collect();
    let signed = tiff(&[tags([1, 3, 1, 32, UNCOMPRESSED, GREY]), vec![tag(339, 2)]].concat(), &[signed]);
    assert_eq!(decode(&signed).unwrap(), Image::new(1, 3, 1, vec![-1.0_f32, 70_000.0, 3.0]).unwrap().into());
    let no_data = [tags([1, 3, 1, 8, UNCOMPRESSED, GREY]), vec![(42113, Value::Text("255"))]].concat();
    let AnyImage::F32(image) = decode(&tiff(&no_data, &[vec![4, 255, 0]])).unwrap() else {
        panic!("no floats")
    };
    assert!(image.data()[1].is_nan() && image.data()[0] == 4.0 && image.data()[2] == 0.0);
    let error = decode(&tiled([9, 5, 5], RGB)).unwrap_err().to_string();
    assert!(error.contains("5 bands of u16, which are not labels"), "{error}");
}

#[test]
fn a_label_image_is_turned_by_its_own_orientation() {
    let turned = [tags([1, 3, 1, 8, UNCOMPRESSED, GREY]), vec![tag(274, 6)]].concat();
    let file = tiff(&turned, &[vec![4, 5, 6]]);
    assert_eq!(decode(&file).unwrap(), bytes(3, 1, 1, &[4, 5, 6]));
    // The orientation is reported for any pixel format.
    for format in ["rgb8", "u8x1"] {
        let encoded =
            Encoded::new("a.tif", file.clone(), format.parse().unwrap(), &DecodeLimits::default()).unwrap();
        assert_eq!((encoded.orientation(), encoded.size()), (Orientation::Rotate90, (3, 1)));
    }
    let mut png = png((1, 3), ColorType::Grayscale, BitDepth::Eight, &[4, 5, 6]);
    let exif = b"II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x08\0\0\0";
    // The EXIF chunk goes after the signature and the header, with a valid checksum.
    let chunk = [&(exif.len() as u32).to_be_bytes()[..], b"eXIf", exif].concat();
    let sum = crc(&chunk[4..]).to_be_bytes();
    png.splice(33..33, [chunk, sum.to_vec()].concat());
    assert_eq!(decode(&png).unwrap(), bytes(3, 1, 1, &[6, 5, 4]));
}

/// CRC-32 as in PNG.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ ((crc & 1) * 0xedb8_8320))
    })
}

#[test]
fn lossy_and_other_formats_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (tests, limits) = (folder.path(), DecodeLimits::default());
    image::RgbImage::new(8, 8).save(tests.join("lossy.jpg")).unwrap();
    std::fs::write(tests.join("grey.pgm"), b"P5 2 2 255\n\x01\x02\x03\x04").unwrap();
    let error = decode_labels(tests.join("lossy.jpg"), &limits).unwrap_err().to_string();
    assert!(
        error.ends_with("export label maps as PNG or TIFF") && error.contains("in the format JPEG"),
        "{error}"
    );
    let error = decode_labels(tests.join("grey.pgm"), &limits).unwrap_err().to_string();
    assert!(error.ends_with("label maps must be PNG or TIFF"), "{error}");
    assert!(decode_labels(tests.join("missing.png"), &limits).is_err());
}

#[test]
fn hostile_files_give_errors() {
    let small = DecodeLimits { max_pixels: 100, max_bytes: 1 << 16 };
    let sound = [
        png((9, 9), ColorType::Indexed, BitDepth::Two, &[0b0001_1011; 27]),
        png((5, 5), ColorType::Rgba, BitDepth::Eight, &[7; 100]),
        png((5, 5), ColorType::Grayscale, BitDepth::Sixteen, &[7; 50]),
        tiff(&tags([5, 7, 1, 8, DEFLATE, PALETTE]), &[zlib(&[3; 35])]),
    ];
    let mut rng = mae_random::stream(*b"mae-labl", [1, 0, 0]);
    for file in sound {
        let whole = decode_within(&file, &small).unwrap();
        for length in 0..file.len() {
            match decode_within(&file[..length], &small) {
                // Only the end of the file is missing.
                Ok(image) => assert_eq!(image, whole),
                Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
            }
        }
        for _ in 0..200 {
            let mut file = file.clone();
            for _ in 0..=mae_random::below(&mut rng, 3) {
                let at = mae_random::below(&mut rng, file.len() as u64) as usize;
                file[at] = mae_random::below(&mut rng, 256) as u8;
            }
            if let Ok(image) = decode_within(&file, &small) {
                assert!(image.height() * image.width() <= 100);
            }
        }
    }
    let large = png((101, 1), ColorType::Grayscale, BitDepth::One, &[0; 101]);
    let error = decode_within(&large, &small).unwrap_err().to_string();
    assert!(error.ends_with("is 101x1, 101 pixels: more than the limit of 100 pixels"), "{error}");
}
