//! Files found by fuzzing that took too much memory, or that libjpeg reads differently (`golden/decode` has those that
//! are read).

use std::path::{Path, PathBuf};

use mae_image::{DecodeLimits, Encoded, ImageError, PixelFormat};

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// The error for a file with these bytes.
fn refusal(bytes: Vec<u8>) -> ImageError {
    let encoded = Encoded::new(Path::new("input"), bytes, PixelFormat::Rgb8, &DecodeLimits::default());
    encoded.and_then(Encoded::decode).expect_err("it is hostile")
}

/// The golden progressive file, split at its scans: the bytes before them, then each scan.
fn progressive() -> Vec<Vec<u8>> {
    let file = std::fs::read(tests().join("golden/decode/progressive.jpg")).unwrap();
    let mut parts = vec![Vec::new()];
    for (at, byte) in file[..file.len() - 2].iter().enumerate() {
        if file[at..].starts_with(&[0xFF, 0xDA]) {
            parts.push(Vec::new());
        }
        parts.last_mut().unwrap().push(*byte);
    }
    assert!(parts.len() > 5);
    parts
}

const END: [u8; 2] = [0xFF, 0xD9];

/// The decoder would take 1.2 GB for the image that these 75 bytes declare.
#[test]
fn channels_that_a_decoder_holds_count() {
    let file = std::fs::read(tests().join("hostile/huge.webp")).unwrap();
    assert!(matches!(refusal(file), ImageError::TooManyBytes { bytes: 687_185_628, .. }));
}

/// The decoder would allocate 3.7 GB for metadata that 5 KB cannot hold. Pillow refuses the file too.
#[test]
fn metadata_beyond_the_end_of_a_file_is_refused() {
    let file = std::fs::read(tests().join("hostile/metadata.webp")).unwrap();
    let ImageError::Decode { source, .. } = refusal(file) else { panic!("another reason") };
    let said = source.to_string();
    assert!(said.contains("the chunk EXIF announces 3730925594 bytes, but 931 follow"), "{said}");
}

/// The product of the sides overflows 64 bits.
#[test]
fn a_side_that_no_image_has_is_counted() {
    let file = b"P2 3555555555555555555 52 7\n8 14 15\n".to_vec();
    assert!(matches!(refusal(file), ImageError::TooManyPixels { height: 52, width: u32::MAX, .. }));
}

/// libjpeg interpolates the missing coefficients from neighbouring blocks.
#[test]
fn a_progressive_image_without_its_last_scans_is_refused() {
    let parts = progressive();
    let file = |scans: usize| [parts[..=scans].concat(), END.to_vec()].concat();
    let whole =
        Encoded::new(Path::new("input"), file(parts.len() - 1), PixelFormat::Rgb8, &DecodeLimits::default())
            .unwrap();
    assert!(whole.decode().is_ok());
    for scans in 1..3 {
        let ImageError::Decode { source, .. } = refusal(file(scans)) else { panic!("another reason") };
        assert!(source.to_string().contains("scans end before the image is complete"), "{source}");
    }
}
