//! Files that are damaged, hostile or not images are refused with their name, the value and the bound.

use std::error::Error;
use std::path::{Path, PathBuf};

use mae_image::{DecodeLimits, ImageError, decode_file};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/decode").join(name)
}

/// The error for a file with these bytes, and its message after the path.
fn refusal(name: &str, bytes: &[u8], limits: DecodeLimits) -> (ImageError, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let error = decode_file(&path, &limits).unwrap_err();
    let message = error.to_string();
    assert!(message.contains(path.to_str().unwrap()), "{message}");
    let after = message.split(path.to_str().unwrap()).nth(1).unwrap().to_string();
    (error, after)
}

#[test]
fn files_cut_short() {
    for name in [
        "quarter-chroma.jpg",
        "progressive.jpg",
        "cmyk.jpg",
        "rgb.png",
        "palette.gif",
        "lossy.webp",
        "lossless.webp",
        "rgb.bmp",
        "rgb-lzw.tif",
    ] {
        let whole = std::fs::read(golden(name)).unwrap();
        for cut in [3, 20, whole.len() / 2, whole.len() * 9 / 10] {
            let (_, message) = refusal(name, &whole[..cut], DecodeLimits::default());
            assert!(
                message.contains(&format!("{cut} bytes")) || message.contains("is not an image"),
                "{message}"
            );
        }
    }
}

#[test]
fn files_that_are_empty_or_no_images() {
    let (_, message) = refusal("empty.jpg", b"", DecodeLimits::default());
    assert_eq!(message, " is empty: 0 bytes");
    let (_, message) = refusal("text.png", b"What I wrote about my holiday", DecodeLimits::default());
    assert_eq!(
        message,
        " is not an image: its first bytes match none of JPEG, PNG, WebP, GIF, BMP, TIFF, PNM, NumPy"
    );
    // A format that exists, but is not supported.
    let (_, message) = refusal("icon.png", &[0, 0, 1, 0, 1, 0, 16, 16], DecodeLimits::default());
    assert!(message.starts_with(" is not an image"));
}

#[test]
fn damaged_files_keep_their_decoders_reason() {
    let mut bytes = std::fs::read(golden("rgb.png")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xFF;
    let (error, message) = refusal("damaged.png", &bytes, DecodeLimits::default());
    assert_eq!(message, format!(" ({} bytes)", bytes.len()));
    assert!(error.source().is_some());
}

/// An uncompressed RGB TIFF file of 16x16 pixels in bands of 8 bits, with these additional tags.
fn tiff(bands: u16, tags: &[(u16, u16)]) -> Vec<u8> {
    let pixels = 256 * u32::from(bands);
    let bits_at = 8 + pixels;
    let tiled = tags.iter().any(|(tag, _)| *tag == 322);
    let (place, length) = if tiled { (324, 325) } else { (273, 279) };
    let short = |tag: u16, value: u16| (tag, 3, 1, u32::from(value));
    let mut entries = vec![
        short(256, 16),
        short(257, 16),
        (258, 3, u32::from(bands), bits_at),
        short(259, 1),
        short(262, 2),
        (place, 4, 1, 8),
        short(277, bands),
        (length, 4, 1, pixels),
    ];
    // The extra bands are unspecified: a 0 for each, of which two fit into the entry.
    let (more, zeros_at) = (u32::from(bands) - 3, bits_at + 2 * u32::from(bands));
    if more > 0 {
        entries.push((338, 3, more, if more > 2 { zeros_at } else { 0 }));
    }
    entries.extend(tags.iter().map(|(tag, value)| short(*tag, *value)));
    entries.sort_unstable();
    let mut file = b"II*\0".to_vec();
    file.extend((zeros_at + 2 * more).to_le_bytes());
    file.extend((0..pixels).map(|at| (at * 7 % 251) as u8));
    file.extend((0..bands).flat_map(|_| 8_u16.to_le_bytes()));
    file.extend((0..2 * more).map(|_| 0));
    file.extend((entries.len() as u16).to_le_bytes());
    for (tag, kind, count, value) in entries {
        file.extend([u16::to_le_bytes(tag), u16::to_le_bytes(kind)].as_flattened());
        file.extend([u32::to_le_bytes(count), u32::to_le_bytes(value)].as_flattened());
    }
    file.extend([0; 4]);
    file
}

/// The `image` crate drops them, and its colours are wrong in tiles or with a predictor.
#[test]
fn further_bands_of_a_tiff_file_in_tiles_or_with_a_predictor() {
    let tiles = [(322, 16), (323, 16)];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bands.tif");
    let expected = |bands: usize| -> Vec<u8> {
        (0..256 * bands).filter(|at| at % bands < 3).map(|at| (at * 7 % 251) as u8).collect()
    };
    for (bands, tags) in
        [(3, &[][..]), (3, &tiles), (4, &[]), (5, &[]), (13, &[]), (4, &tiles), (5, &tiles), (13, &tiles)]
    {
        std::fs::write(&path, tiff(bands, tags)).unwrap();
        let image = decode_file(&path, &DecodeLimits::default()).unwrap();
        assert!(image.data() == expected(bands.into()), "{bands} bands, {tags:?}");
    }
    // Readers disagree on a predictor without compression.
    for bands in [4, 5] {
        let (error, message) = refusal("bands.tif", &tiff(bands, &[(317, 2)]), DecodeLimits::default());
        assert!(matches!(error, ImageError::Unsupported { .. }), "{error:?}");
        assert!(message.starts_with(" is a TIFF image with predictor 2 and TIFF compression 1"), "{message}");
    }
}

#[test]
fn files_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().join("missing.jpg"), folder.path().to_path_buf()] {
        let error = decode_file(&path, &DecodeLimits::default()).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot read the image {}", path.display()));
        assert!(error.source().is_some());
    }
}

/// A PNG that claims to be 100,000 by 100,000 in some 70 bytes.
fn bomb() -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = b"IHDR".to_vec();
    header.extend(100_000u32.to_be_bytes().repeat(2));
    header.extend([8, 2, 0, 0, 0]);
    for chunk in [&header[..], b"IDAT\x78\x9c\x03\x00\x00\x00\x00\x01", b"IEND"] {
        png.extend((chunk.len() as u32 - 4).to_be_bytes());
        png.extend(chunk);
        // CRC-32, bit by bit.
        let crc = chunk.iter().fold(u32::MAX, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 * (crc & 1)))
        });
        png.extend((!crc).to_be_bytes());
    }
    png
}

#[test]
fn decompression_bombs() {
    let (_, message) = refusal("bomb.png", &bomb(), DecodeLimits::default());
    assert_eq!(message, " is 100000x100000, 10000000000 pixels: more than the limit of 178956970 pixels");
    // The pixels are allowed, the memory is not.
    let limits = DecodeLimits { max_pixels: u64::MAX, ..DecodeLimits::default() };
    let (_, message) = refusal("bomb.png", &bomb(), limits);
    assert_eq!(
        message,
        " is 100000x100000 and takes 30000000000 bytes decoded: more than the limit of 536870912 bytes"
    );
    // A GIF has no checksum of its size.
    let mut gif = std::fs::read(golden("palette.gif")).unwrap();
    gif[6..10].fill(0xFF);
    let (_, message) = refusal("bomb.gif", &gif, DecodeLimits::default());
    assert_eq!(message, " is 65535x65535, 4294836225 pixels: more than the limit of 178956970 pixels");
}

#[test]
fn an_image_without_pixels() {
    let mut gif = std::fs::read(golden("palette.gif")).unwrap();
    gif[6..8].fill(0);
    let (_, message) = refusal("thin.gif", &gif, DecodeLimits::default());
    assert_eq!(message, " is 46x0: it has no pixels");
}

#[test]
fn limits_hold_to_the_pixel_and_byte() {
    let path = golden("rgb.png");
    let file = std::fs::metadata(&path).unwrap().len();
    let (pixels, bytes) = (46 * 61, 3 * 46 * 61);
    let decode = |max_pixels, max_bytes| decode_file(&path, &DecodeLimits { max_pixels, max_bytes });
    assert!(decode(pixels, bytes).is_ok());
    assert!(matches!(decode(pixels - 1, bytes), Err(ImageError::TooManyPixels { max_pixels: 2805, .. })));
    assert!(matches!(decode(pixels, bytes - 1), Err(ImageError::TooManyBytes { bytes: 8418, .. })));
    let message = decode(pixels, file - 1).unwrap_err().to_string();
    assert!(
        message.ends_with(&format!("has {file} bytes: more than the limit of {} bytes", file - 1)),
        "{message}"
    );
}

/// Valid files of unsupported kinds are named, with advice.
#[test]
fn kinds_that_are_not_read() {
    let said = |name: &str, bytes: &[u8]| refusal(name, bytes, DecodeLimits::default()).1;
    let jpeg = std::fs::read(golden("quarter-chroma.jpg")).unwrap();
    let frame = jpeg.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    let changed = |at: usize, byte: u8| {
        let mut jpeg = jpeg.clone();
        jpeg[frame + at] = byte;
        jpeg
    };
    for coding in [0xC9, 0xCA] {
        let arithmetic = said("x.jpg", &changed(1, coding));
        assert!(
            arithmetic.starts_with(" is an arithmetic-coded JPEG, which is not supported: "),
            "{arithmetic}"
        );
        assert!(arithmetic.contains("jpegtran"), "{arithmetic}");
    }
    assert!(said("x.jpg", &changed(1, 0xC3)).starts_with(" is a lossless JPEG, which is not supported: "));
    assert!(said("x.jpg", &changed(4, 12)).starts_with(" is a JPEG of 12 bits, which is not supported: "));
    // Sampling factors of 3 and 2 columns.
    let mut fractional = changed(11, 0x31);
    fractional[frame + 14] = 0x21;
    assert!(
        said("x.jpg", &fractional)
            .starts_with(" is a JPEG with fractional subsampling, which is not supported")
    );
    let heic = said("x.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic");
    assert!(heic.starts_with(" is HEIC, which is not supported: convert it"), "{heic}");
    assert!(said("x.png", b"\0\0\0\x18ftypavif\0\0\0\0").starts_with(" is AVIF, which is not supported"));
}
