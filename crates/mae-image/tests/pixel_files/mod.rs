//! Small TIFF and NumPy files with values of any type, for tests.

use std::iter::once;

use mae_image::{AnyImage, Crop, Image, Pixel, of_any};

/// The value of a tag.
#[derive(Clone)]
pub enum Value {
    Numbers(Vec<u32>),
    Text(&'static str),
}

/// A tag with one number.
pub fn tag(tag: u16, number: u32) -> (u16, Value) {
    (tag, Value::Numbers(vec![number]))
}

/// A little-endian TIFF file of one page. `chunks` are its strips, or its tiles if it has a tag for their width; empty
/// ones are left out.
pub fn tiff(tags: &[(u16, Value)], chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut file = b"II*\0\0\0\0\0".to_vec();
    let offsets = chunks.iter().map(|chunk| {
        let at = if chunk.is_empty() { 0 } else { file.len() as u32 };
        file.extend(chunk);
        at
    });
    let offsets = Value::Numbers(offsets.collect());
    let lengths = Value::Numbers(chunks.iter().map(|chunk| chunk.len() as u32).collect());
    let (place, length) = if tags.iter().any(|(tag, _)| *tag == 322) { (324, 325) } else { (273, 279) };
    let mut tags = [tags, &[(place, offsets), (length, lengths)]].concat();
    tags.sort_by_key(|(tag, _)| *tag);
    let mut entries = (tags.len() as u16).to_le_bytes().to_vec();
    for (tag, value) in tags {
        let (kind, count, mut bytes): (u16, _, Vec<u8>) = match value {
            Value::Numbers(numbers) => {
                (4, numbers.len(), numbers.iter().flat_map(|number| number.to_le_bytes()).collect())
            }
            Value::Text(text) => (2, text.len() + 1, text.bytes().chain(once(0)).collect()),
        };
        if bytes.len() > 4 {
            let at = file.len() as u32;
            file.extend(bytes);
            bytes = at.to_le_bytes().to_vec();
        }
        bytes.resize(4, 0);
        entries.extend([tag.to_le_bytes(), kind.to_le_bytes()].as_flattened());
        entries.extend((count as u32).to_le_bytes());
        entries.extend(bytes);
    }
    let directory = file.len() as u32;
    file[4..8].copy_from_slice(&directory.to_le_bytes());
    file.extend(entries);
    file.extend([0; 4]);
    file
}

/// The tags of an image: height, width, bands, bits, compression and photometric interpretation.
pub fn tags([height, width, bands, bits, compression, photometric]: [u32; 6]) -> Vec<(u16, Value)> {
    let numbers = [(256, width), (257, height), (259, compression), (262, photometric), (277, bands)];
    let numbers = numbers.map(|(number, value)| tag(number, value));
    let bits = (258, Value::Numbers(vec![bits; bands as usize]));
    numbers.into_iter().chain([bits, tag(278, height)]).collect()
}

pub const UNCOMPRESSED: u32 = 1;
pub const DEFLATE: u32 = 8;
pub const GREY: u32 = 1;
pub const RGB: u32 = 2;

/// A zlib stream that stores at most 65,535 bytes as they are.
pub fn zlib(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap();
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in bytes {
        a = (a + u32::from(*byte)) % 65521;
        b = (b + a) % 65521;
    }
    let head = [0x78, 0x01, 0x01];
    let lengths = [length.to_le_bytes(), (!length).to_le_bytes()];
    [&head[..], lengths.as_flattened(), bytes, &(b << 16 | a).to_be_bytes()].concat()
}

/// A rectangle of an image.
pub fn cut(image: &AnyImage, crop: Crop) -> AnyImage {
    fn cut<T: Pixel>(image: &Image<T>, Crop { top, left, height, width }: Crop) -> AnyImage {
        let (row, channels) = (image.width() * image.channels(), image.channels());
        let rows = image.data().chunks(row).skip(top).take(height);
        let data = rows.flat_map(|row| &row[left * channels..][..width * channels]).copied().collect();
        T::any(Image::new(height, width, channels, data).unwrap())
    }
    of_any!(image, image => cut(image, crop))
}

/// A value of the 16-bit test image: neighbours and bands differ.
pub fn number(row: usize, column: usize, band: usize) -> u16 {
    (row * 2_909 + column * 7_331 + band * 11_003 + 40_000) as u16
}

/// All values of a test image, `[H, W, C]`.
pub fn numbers(height: usize, width: usize, bands: usize) -> Vec<u16> {
    let pixels = (0..height).flat_map(|row| (0..width).map(move |column| (row, column)));
    pixels.flat_map(|(row, column)| (0..bands).map(move |band| number(row, column, band))).collect()
}

pub fn bytes_of(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// The test image in deflated tiles of 16x16, each value minus its left neighbour (predictor 2).
pub fn tiled([height, width, bands]: [usize; 3], photometric: u32) -> Vec<u8> {
    const SIDE: usize = 16;
    let mut tiles = Vec::new();
    for top in (0..height).step_by(SIDE) {
        for left in (0..width).step_by(SIDE) {
            let mut tile = Vec::new();
            for row in top..top + SIDE {
                for column in left..left + SIDE {
                    let before = |band| if column == left { 0 } else { number(row, column - 1, band) };
                    tile.extend((0..bands).map(|band| number(row, column, band).wrapping_sub(before(band))));
                }
            }
            tiles.push(zlib(&bytes_of(&tile)));
        }
    }
    let sizes = [height, width, bands].map(|size| size as u32);
    let mut tags = tags([sizes[0], sizes[1], sizes[2], 16, DEFLATE, photometric]);
    tags.retain(|(tag, _)| *tag != 278);
    tags.extend([tag(317, 2), tag(322, SIDE as u32), tag(323, SIDE as u32)]);
    if photometric == RGB && bands > 3 {
        tags.push((338, Value::Numbers(vec![0; bands - 3])));
    }
    tiff(&tags, &tiles)
}

/// A NumPy file of format 1.0 with this text as header.
pub fn npy_of(header: &str, data: &[u8]) -> Vec<u8> {
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\0", &length[..], header.as_bytes(), data].concat()
}

/// A NumPy file in row-major order.
pub fn npy(descr: &str, shape: &[usize], data: &[u8]) -> Vec<u8> {
    let shape: String = shape.iter().map(|side| format!("{side}, ")).collect();
    npy_of(&format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}\n"), data)
}
