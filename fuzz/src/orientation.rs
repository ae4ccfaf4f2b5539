//! EXIF segments, in an image that shows its orientation.

use std::io::Cursor;
use std::sync::LazyLock;

use image::{DynamicImage, ImageFormat, Rgb, RgbImage, metadata::Orientation};
use mae_data::Image;

use crate::{SMALL, decode};

/// Four colours, wider than high, so that no two orientations look alike.
static PICTURE: LazyLock<DynamicImage> = LazyLock::new(|| {
    RgbImage::from_fn(32, 16, |x, y| match (x < 16, y < 8) {
        (true, true) => Rgb([200, 40, 40]),
        (false, true) => Rgb([40, 200, 40]),
        (true, false) => Rgb([40, 40, 200]),
        (false, false) => Rgb([200, 200, 200]),
    })
    .into()
});

static JPEG: LazyLock<Vec<u8>> = LazyLock::new(|| encoded(ImageFormat::Jpeg));
static PNG: LazyLock<Vec<u8>> = LazyLock::new(|| encoded(ImageFormat::Png));

fn encoded(format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    PICTURE.write_to(&mut file, format).expect("a picture in memory");
    file.into_inner()
}

/// Checks that with any EXIF data, the image has one of its eight orientations, and the same one in a JPEG and a PNG
/// file. The first byte says where to split the data, for a JPEG file with two EXIF segments.
pub fn exif(data: &[u8]) {
    let Some((cut, data)) = data.split_first() else { return };
    if data.len() > 60_000 {
        return;
    }
    let jpeg = orientation(&jpeg_with(&[data]));
    // Without EXIF data, a PNG file is upright, and so is a JPEG file.
    assert_eq!(jpeg, orientation(&png_with(data)));
    let (first, second) = data.split_at(data.len() * usize::from(*cut) / 256);
    orientation(&jpeg_with(&[first, second]));
}

fn jpeg_with(segments: &[&[u8]]) -> Vec<u8> {
    let mut file = JPEG[..2].to_vec();
    for segment in segments {
        file.extend([0xFF, 0xE1]);
        file.extend((segment.len() as u16 + 8).to_be_bytes());
        file.extend(b"Exif\0\0");
        file.extend(*segment);
    }
    file.extend(&JPEG[2..]);
    file
}

fn png_with(data: &[u8]) -> Vec<u8> {
    const HEADER: usize = 8 + 25;
    let mut file = PNG[..HEADER].to_vec();
    file.extend((data.len() as u32).to_be_bytes());
    file.extend(b"eXIf");
    file.extend(data);
    // Decoders do not check the checksum in a fuzzing build.
    file.extend([0; 4]);
    file.extend(&PNG[HEADER..]);
    file
}

/// The index of the orientation in which the picture is decoded; 0 is unchanged.
fn orientation(file: &[u8]) -> usize {
    let image = decode(file, &SMALL).expect("EXIF data makes no image unreadable");
    let same = |turned: &RgbImage| {
        (turned.height() as usize, turned.width() as usize) == (image.height(), image.width())
            && alike(&image, turned.as_raw())
    };
    let picture = PICTURE.to_rgb8();
    orientations(&picture).position(|turned| same(&turned)).expect("the image is one of its orientations")
}

/// An image in each of the eight orientations, in the order of EXIF's numbers.
pub fn orientations(image: &RgbImage) -> impl Iterator<Item = RgbImage> {
    (1..=8).filter_map(Orientation::from_exif).map(|orientation| {
        let mut turned = DynamicImage::from(image.clone());
        turned.apply_orientation(orientation);
        turned.into_rgb8()
    })
}

/// Compares by the mean difference, because JPEG blurs the edges between the colours.
fn alike(image: &Image, other: &[u8]) -> bool {
    let sum: u64 = image.data().iter().zip(other).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum < 12 * other.len() as u64
}
