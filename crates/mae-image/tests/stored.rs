//! Files of values of any type and any number of channels are read as stored.

#[allow(dead_code, reason = "other tests use the rest")]
mod pixel_files;

use std::error::Error;
use std::path::Path;

use mae_image::{
    AnyImage, DecodeLimits, Encoded, Image, ImageError, PixelFormat, decode_file, stored_format,
};
use pixel_files::{
    DEFLATE, GREY, RGB, UNCOMPRESSED, Value, bytes_of, npy, numbers, tag, tags, tiff, tiled, zlib,
};

/// Decodes a file whose name suggests another format: only its content counts.
fn decode(file: &[u8], format: &str) -> Result<AnyImage, ImageError> {
    let limits = DecodeLimits::default();
    Encoded::new(Path::new("input.png"), file.to_vec(), format.parse()?, &limits)?.decode()
}

fn format_of(file: &[u8]) -> Result<PixelFormat, ImageError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input.png");
    std::fs::write(&path, file).unwrap();
    stored_format(&path, &DecodeLimits::default())
}

/// Checks that a file has this format, and decodes it.
fn read(file: &[u8], format: &str) -> AnyImage {
    assert_eq!(format_of(file).unwrap().to_string(), format);
    decode(file, format).unwrap()
}

fn message(error: &ImageError) -> String {
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}

fn image<T: mae_image::Pixel>(size: [usize; 3], numbers: Vec<T>) -> AnyImage {
    T::any(Image::new(size[0], size[1], size[2], numbers).unwrap())
}

#[test]
fn a_tiled_tiff_file_of_five_bands_with_a_predictor() {
    let size = [20, 35, 5];
    for photometric in [GREY, RGB] {
        let read = read(&tiled(size, photometric), "u16x5");
        assert_eq!(read, image(size, numbers(20, 35, 5)));
    }
}

#[test]
fn its_first_three_bands_are_the_colours_of_its_8_bit_image() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bands.tif");
    std::fs::write(&path, tiled([20, 35, 5], RGB)).unwrap();
    let read = decode_file(&path, &DecodeLimits::default()).unwrap();
    let wide = numbers(20, 35, 5);
    let colours = wide.chunks(5).flat_map(|pixel| &pixel[..3]);
    let expected: Vec<u8> = colours.map(|number| ((u32::from(*number) + 128) / 257) as u8).collect();
    assert_eq!(read, Image::new(20, 35, 3, expected).unwrap());
}

#[test]
fn strips_of_floats_and_of_planes() {
    let floats = [1.5_f32, -0.25, f32::NAN, f32::INFINITY, 3e-40, -7.0];
    let bytes: Vec<u8> = floats.iter().flat_map(|number| number.to_le_bytes()).collect();
    let float_tags = [tags([2, 3, 1, 32, DEFLATE, GREY]), vec![tag(339, 3)]].concat();
    let AnyImage::F32(read) = read(&tiff(&float_tags, &[zlib(&bytes)]), "f32x1") else { panic!("no floats") };
    assert_eq!(read.data().iter().map(|n| n.to_bits()).collect::<Vec<_>>(), floats.map(f32::to_bits));

    let planes = [vec![1, 2, 3, 4, 5, 6], vec![11, 12, 13, 14, 15, 16]];
    let planar = [tags([2, 3, 2, 8, UNCOMPRESSED, GREY]), vec![tag(284, 2)]].concat();
    let expected = image([2, 3, 2], vec![1_u8, 11, 2, 12, 3, 13, 4, 14, 5, 15, 6, 16]);
    assert_eq!(self::read(&tiff(&planar, &planes), "u8x2"), expected);
}

#[test]
fn alpha_is_dropped_if_the_format_does_not_count_it() {
    let numbers = numbers(3, 4, 4);
    let rgba = [tags([3, 4, 4, 16, UNCOMPRESSED, RGB]), vec![tag(338, 2)]].concat();
    let file = tiff(&rgba, &[bytes_of(&numbers)]);
    let colours = numbers.chunks(4).flat_map(|pixel| &pixel[..3]).copied().collect();
    assert_eq!(read(&file, "u16x3"), image([3, 4, 3], colours));
    assert_eq!(decode(&file, "u16x4").unwrap(), image([3, 4, 4], numbers));
}

#[test]
fn no_data_is_not_a_number() {
    let no_data = vec![(42113, Value::Text("7"))];
    let file =
        tiff(&[tags([2, 2, 1, 8, UNCOMPRESSED, GREY]), no_data.clone()].concat(), &[vec![6, 7, 8, 255]]);
    let AnyImage::F32(image) = read(&file, "f32x1") else { panic!("no floats") };
    let [a, b, c, d] = image.data()[..] else { panic!("four numbers") };
    assert!((a, c, d) == (6.0, 8.0, 255.0) && b.is_nan(), "{image:?}");

    // In 8-bit RGB, it is a value like any other.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bands.tif");
    let tiles = [tag(317, 2), (338, Value::Numbers(vec![0; 2]))];
    let differences = zlib(&[6, 7, 8, 9, 10, 1, 1, 1, 1, 1]);
    let colours = [tags([1, 2, 5, 8, DEFLATE, RGB]), tiles.to_vec(), no_data].concat();
    std::fs::write(&path, tiff(&colours, &[differences])).unwrap();
    let image = decode_file(&path, &DecodeLimits::default()).unwrap();
    assert_eq!(image.data(), [6, 7, 8, 7, 8, 9]);
}

#[test]
fn the_orientation_is_applied() {
    let (height, width) = (20, 35);
    let wide = numbers(height, width, 5);
    let turned = |orientation| {
        let upright = [tags([20, 35, 5, 16, UNCOMPRESSED, GREY]), vec![tag(274, orientation)]].concat();
        read(&tiff(&upright, &[bytes_of(&wide)]), "u16x5")
    };
    assert_eq!(turned(1), image([height, width, 5], wide.clone()));
    // A quarter turn clockwise: the first row of the upright image is the first stored column, from bottom to top.
    let pixel = |row: usize, column: usize| &wide[(row * width + column) * 5..][..5];
    let rows = (0..width).flat_map(|column| (0..height).rev().map(move |row| (row, column)));
    let quarter = rows.flat_map(|(row, column)| pixel(row, column)).copied().collect();
    assert_eq!(turned(6), image([width, height, 5], quarter));
    let half = wide.chunks(5).rev().flatten().copied().collect();
    assert_eq!(turned(3), image([height, width, 5], half));
}

#[test]
fn arrays_of_numpy_with_channels_first_or_last() {
    let flat = |shape: &[usize]| npy("<u2", shape, &bytes_of(&numbers(4, 6, 1)[..shape.iter().product()]));
    let all = numbers(4, 6, 1);
    assert_eq!(read(&flat(&[4, 6]), "u16x1"), image([4, 6, 1], all.clone()));
    assert_eq!(read(&flat(&[3, 4, 2]), "u16x2"), image([3, 4, 2], all.clone()));
    let first = read(&flat(&[2, 3, 4]), "u16x2");
    let pairs = (0..12).flat_map(|at| [all[at], all[at + 12]]).collect();
    assert_eq!(first, image([3, 4, 2], pairs));
    // If the first and last dimensions are equal, the channels come last.
    assert_eq!(read(&flat(&[4, 1, 4]), "u16x4"), image([4, 1, 4], all[..16].to_vec()));
    let big = npy(">f8", &[1, 2], &[1.5_f64, -2.0].map(f64::to_be_bytes).concat());
    assert_eq!(read(&big, "f32x1"), image([1, 2, 1], vec![1.5_f32, -2.0]));
    // Bytes are values without colours, too.
    let bytes = npy("|u1", &[1, 2], &[3, 4]);
    assert_eq!(read(&bytes, "u8x1"), image([1, 2, 1], vec![3_u8, 4]));
}

#[test]
fn an_array_of_numpy_has_no_colours() {
    let error = decode(&npy("|u1", &[2, 2, 3], &[0; 12]), "rgb8").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the image input.png is a NumPy array, which is not supported: its numbers have no colours; name their \
         format, for instance `--pixels f32x4` (in a library: `PixelFormat::Stored`)"
    );
}

#[test]
fn another_format_is_refused() {
    let five = tiled([20, 35, 5], GREY);
    let array = npy("<f4", &[2, 1, 2], &[0; 16]);
    for (file, found, expected) in
        [(&five, "u16x5", "u16x4"), (&five, "u16x5", "f32x5"), (&array, "f32x2", "f32x3")]
    {
        let error = decode(file, expected).unwrap_err();
        assert!(matches!(error, ImageError::PixelFormat { .. }), "{error:?}");
        assert_eq!(
            error.to_string(),
            format!(
                "the image input.png is {found}, but must be {expected} (type of its numbers x channels)"
            )
        );
    }
}

/// The `image` crate computes their colours.
#[test]
fn bits_and_inks_are_read_as_grey_and_colours() {
    let bits = tiff(&tags([2, 9, 1, 1, UNCOMPRESSED, GREY]), &[vec![0b1010_0000, 0x80, 0b0000_0001, 0]]);
    assert_eq!(format_of(&bits).unwrap(), PixelFormat::Rgb8);
    let white = [255_u8, 0, 255, 0, 0, 0, 0, 0, 255, 0, 0, 0, 0, 0, 0, 0, 255, 0];
    assert_eq!(decode(&bits, "u8x1").unwrap(), image([2, 9, 1], white.to_vec()));
    let inks = tiff(&tags([1, 2, 4, 8, UNCOMPRESSED, 5]), &[vec![0, 255, 100, 0, 0, 0, 0, 255]]);
    assert_eq!(format_of(&inks).unwrap(), PixelFormat::Rgb8);
    assert_eq!(decode(&inks, "u8x3").unwrap(), image([1, 2, 3], vec![255_u8, 0, 155, 0, 0, 0]));
}

#[test]
fn kinds_that_are_not_read_are_named() {
    let refusal = |file: &[u8]| message(&decode(file, "u16x1").unwrap_err());
    let twelve = tiff(&tags([1, 2, 1, 12, UNCOMPRESSED, GREY]), &[vec![0; 3]]);
    let begin =
        "the image input.png is a TIFF image with numbers of 12 bits, which is not supported: convert it";
    assert!(refusal(&twelve).starts_with(begin), "{}", refusal(&twelve));
    let palette = tiff(&tags([1, 2, 1, 8, UNCOMPRESSED, 3]), &[vec![0; 2]]);
    assert!(refusal(&palette).contains("a TIFF image with a palette"), "{}", refusal(&palette));
    let colours = format_of(&palette).unwrap_err().to_string();
    assert!(colours.contains("a TIFF image with a palette"), "{colours}");
    let far = npy("<i4", &[2, 2], &[0, 0, 16_777_217, 0].map(i32::to_le_bytes).concat());
    let message = refusal(&far);
    assert!(
        message.contains(
            "a NumPy image with a number that no 32-bit float holds (16777217 at row 1, column 0 and channel 0"
        ),
        "{message}"
    );
    let short = npy("<u2", &[2, 2], &[0; 7]);
    let message = refusal(&short);
    assert!(message.contains("the array takes 8 bytes, but the file has 7 after its header"), "{message}");
}

/// Only the header is read.
#[test]
fn the_format_is_told_without_decoding() {
    let mut file = tiled([20, 35, 5], GREY);
    file[8..].iter_mut().take(50).for_each(|byte| *byte = 0xff);
    assert_eq!(format_of(&file).unwrap().to_string(), "u16x5");
    let error = decode(&file, "u16x5").unwrap_err();
    assert!(matches!(error, ImageError::Decode { .. }), "{error:?}");
    assert!(message(&error).contains("tile 0: "), "{}", message(&error));
}
