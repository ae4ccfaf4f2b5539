//! Windows of TIFF images equal the same rectangles of the whole images, and only the chunks that they touch are read.

#[allow(dead_code, reason = "other tests use the rest")]
mod pixel_files;

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use mae_image::{AnyImage, Crop, DecodeLimits, Encoded, ImageError, Part, PixelFormat, stored_format};
use mae_random::below;
use pixel_files::{DEFLATE, GREY, UNCOMPRESSED, Value, bytes_of, cut, tag, tags, tiff, zlib};

const JPEG: u32 = 7;
const PACK_BITS: u32 = 32773;

/// Random numbers below bounds.
struct Random(mae_random::Stream);

impl Random {
    fn below(&mut self, bound: u64) -> usize {
        below(&mut self.0, bound) as usize
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64)]
    }

    /// A random crop of an image of `(height, width)`.
    fn crop(&mut self, (height, width): (usize, usize)) -> Crop {
        let (top, left) = (self.below(height as u64), self.below(width as u64));
        let (height, width) = (1 + self.below((height - top) as u64), 1 + self.below((width - left) as u64));
        Crop { top, left, height, width }
    }
}

/// Compresses the bytes of a chunk.
fn pack(bytes: &[u8], compression: u32, width: usize) -> Vec<u8> {
    match compression {
        DEFLATE => zlib(bytes),
        PACK_BITS => bytes.chunks(128).flat_map(|run| [&[run.len() as u8 - 1][..], run].concat()).collect(),
        JPEG => {
            let mut jpeg = Vec::new();
            let encoder = image::codecs::jpeg::JpegEncoder::new(&mut jpeg);
            let (height, width) = ((bytes.len() / width) as u32, width as u32);
            image::ImageEncoder::write_image(encoder, bytes, width, height, image::ExtendedColorType::L8)
                .unwrap();
            jpeg
        }
        _ => bytes.to_vec(),
    }
}

/// A random TIFF file and its format.
fn random_file(random: &mut Random) -> (Vec<u8>, String) {
    let compression = random.of(&[UNCOMPRESSED, DEFLATE, PACK_BITS, JPEG]);
    let (kind, bytes, bands) = match compression {
        JPEG => ("u8", 1, 1),
        _ => {
            let (kind, bytes) = random.of(&[("u8", 1), ("u16", 2), ("f32", 4)]);
            (kind, bytes, 1 + random.below(5))
        }
    };
    let (height, width) = (1 + random.below(40), 1 + random.below(40));
    let tiled = random.below(2) == 1;
    let side = |random: &mut Random| 1 + random.below(20);
    let (chunk_height, chunk_width) =
        if tiled { (side(random), side(random)) } else { (side(random).min(height), width) };
    let planar = random.below(2) == 1;
    let (planes, samples) = if planar { (bands, 1) } else { (1, bands) };
    let leaves_out = random.below(3) == 0;
    let mut chunks = Vec::new();
    for _ in 0..planes {
        for top in (0..height).step_by(chunk_height) {
            for _ in (0..width).step_by(chunk_width) {
                let rows = if tiled { chunk_height } else { chunk_height.min(height - top) };
                let count = rows * chunk_width * samples * bytes;
                // Few distinct values, so that some equal the "no data" value.
                let data: Vec<u8> = (0..count).map(|_| random.below(9) as u8 * 25).collect();
                let left_out = leaves_out && random.below(3) == 0;
                chunks.push(if left_out { Vec::new() } else { pack(&data, compression, chunk_width) });
            }
        }
    }
    let sizes = [height, width, bands, 8 * bytes].map(|size| size as u32);
    let mut tags = tags([sizes[0], sizes[1], sizes[2], sizes[3], compression, GREY]);
    tags.retain(|(tag, _)| *tag != 278);
    if tiled {
        tags.extend([tag(322, chunk_width as u32), tag(323, chunk_height as u32)]);
    } else {
        tags.push(tag(278, chunk_height as u32));
    }
    let no_data = random.below(3) == 0;
    if no_data {
        tags.push((42113, Value::Text("100")));
    }
    tags.extend([tag(284, 1 + u32::from(planar)), tag(274, 1 + random.below(8) as u32)]);
    tags.push(tag(339, if kind == "f32" { 3 } else { 1 }));
    let kind = if no_data { "f32" } else { kind };
    (tiff(&tags, &chunks), format!("{kind}x{bands}"))
}

/// A part's position and size, and its values to the bit.
fn shown(part: &Part) -> (usize, usize, [usize; 3], Vec<u8>) {
    let size = [part.pixels.height(), part.pixels.width(), part.pixels.channels()];
    (part.top, part.left, size, part.pixels.planes())
}

#[test]
fn a_window_is_the_same_rectangle_of_the_whole_image() {
    let mut random = Random(mae_random::stream(*b"windows_", [1, 0, 0]));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scene.tif");
    // This makes the file longer than the limit, so it is not read whole; any image takes less.
    const PADDING: usize = 64 << 10;
    let by_window = DecodeLimits { max_bytes: 60 << 10, ..DecodeLimits::default() };
    for _ in 0..600 {
        let (mut file, format) = random_file(&mut random);
        file.resize(file.len() + PADDING, 0);
        let format: PixelFormat = format.parse().unwrap();
        std::fs::write(&path, &file).unwrap();
        let memory = || Encoded::new(&path, file.clone(), format, &DecodeLimits::default()).unwrap();
        let stored = || Encoded::read(&path, format, &by_window).unwrap();
        let size = memory().size();
        let whole = memory().decode().unwrap();
        assert_eq!((whole.height(), whole.width()), size);
        assert_eq!(stored().size(), size);
        assert_eq!(stored().decode().unwrap().planes(), whole.planes());
        for _ in 0..6 {
            let crop = random.crop(size);
            let expected = Part { pixels: cut(&whole, crop), top: crop.top, left: crop.left };
            for encoded in [memory(), stored()] {
                let part = encoded.decode_part(crop, Vec::new()).unwrap();
                assert_eq!(shown(&part), shown(&expected), "{format} {size:?} {crop:?}");
            }
        }
    }
}

#[test]
fn windows_of_all_orientations_are_upright() {
    // 3 rows and 5 columns; each value is its own position.
    let places: Vec<u8> = (0..3).flat_map(|row| (0..5).map(move |column| 10 * row + column)).collect();
    let upright = |orientation, crop| {
        let tags = [tags([3, 5, 1, 8, UNCOMPRESSED, GREY]), vec![tag(274, orientation)]].concat();
        let file = tiff(&tags, std::slice::from_ref(&places));
        let encoded = Encoded::new("input", file, "u8x1".parse().unwrap(), &DecodeLimits::default()).unwrap();
        let expected = if orientation < 5 { (3, 5) } else { (5, 3) };
        assert_eq!(encoded.size(), expected);
        encoded.decode_part(crop, Vec::new()).unwrap().pixels.into_u8().unwrap().into_data()
    };
    let crop = Crop { top: 1, left: 0, height: 1, width: 2 };
    // The first two pixels of the second row, by where the TIFF specification puts the first row and column.
    for (orientation, expected) in [
        (1, [10, 11]),
        (2, [14, 13]),
        (3, [14, 13]),
        (4, [10, 11]),
        (5, [1, 11]),
        (6, [21, 11]),
        (7, [23, 13]),
        (8, [3, 13]),
    ] {
        assert_eq!(upright(orientation, crop), expected, "orientation {orientation}");
    }
}

/// A file of 20,000 x 20,000 pixels of 4 bands in tiles of 256, of which nine are written.
struct Scene {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

const SIDE: usize = 20_000;
const TILE: usize = 256;
const ACROSS: usize = SIDE.div_ceil(TILE);
/// The first column and row of the tiles that are written.
const WRITTEN: usize = 40;
/// A tile beyond the end of the file.
const BEYOND: usize = 60 * ACROSS + 60;

fn number(row: usize, column: usize, band: usize) -> u16 {
    (row * 31 + column * 7 + band * 11_003) as u16
}

impl Scene {
    fn write() -> Self {
        let mut tiles = vec![Vec::new(); ACROSS * ACROSS];
        for y in WRITTEN..WRITTEN + 3 {
            for x in WRITTEN..WRITTEN + 3 {
                let rows = y * TILE..(y + 1) * TILE;
                let numbers = rows.flat_map(|row| {
                    (x * TILE..(x + 1) * TILE)
                        .flat_map(move |column| (0..4).map(move |band| number(row, column, band)))
                });
                tiles[y * ACROSS + x] = bytes_of(&numbers.collect::<Vec<_>>());
            }
        }
        // Its offset is replaced with `u32::MAX`, beyond the end.
        let mark = b"beyond".to_vec();
        tiles[BEYOND] = mark.clone();
        let mut tags = tags([SIDE as u32, SIDE as u32, 4, 16, UNCOMPRESSED, GREY]);
        tags.retain(|(tag, _)| *tag != 278);
        tags.extend([tag(322, TILE as u32), tag(323, TILE as u32)]);
        let mut file = tiff(&tags, &tiles);
        let at = file.windows(mark.len()).position(|bytes| bytes == mark).unwrap() as u32;
        let listed = file.windows(4).rposition(|bytes| bytes == at.to_le_bytes()).unwrap();
        file[listed..listed + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scene.tif");
        std::fs::write(&path, file).unwrap();
        Self { _folder: folder, path }
    }

    fn window(&self, crop: Crop, limits: &DecodeLimits) -> Result<AnyImage, ImageError> {
        let encoded = Encoded::read(&self.path, "u16x4".parse()?, limits)?;
        assert_eq!(encoded.size(), (SIDE, SIDE));
        let part = encoded.decode_part(crop, Vec::new())?;
        assert_eq!((part.top, part.left), (crop.top, crop.left));
        Ok(part.pixels)
    }
}

#[test]
fn of_a_scene_beyond_all_limits_windows_are_read() {
    let scene = Scene::write();
    let limits = DecodeLimits::default();
    let small = DecodeLimits { max_pixels: 60_000, max_bytes: 480_000 };
    assert_eq!(stored_format(&scene.path, &limits).unwrap().to_string(), "u16x4");
    assert_eq!(stored_format(&scene.path, &small).unwrap().to_string(), "u16x4");
    // Across four tiles, and within one.
    for (top, left) in [(41 * TILE - 100, 41 * TILE - 50), (41 * TILE, 42 * TILE - 256)] {
        let crop = Crop { top, left, height: 200, width: 300 };
        let pixels = (top..top + 200).flat_map(|row| (left..left + 300).map(move |column| (row, column)));
        let expected = pixels.flat_map(|(row, column)| (0..4).map(move |band| number(row, column, band)));
        let AnyImage::U16(image) = scene.window(crop, &small).unwrap() else { panic!("numbers of 16 bits") };
        assert!(image.data().iter().copied().eq(expected), "{crop:?}");
    }
    // Tiles that are left out are zeros.
    let crop = Crop { top: SIDE - 9, left: SIDE - 300, height: 9, width: 300 };
    assert!(scene.window(crop, &small).unwrap().planes().iter().all(|byte| *byte == 0));
    // Only a window that touches the tile beyond the end of the file fails.
    let (top, left) = (BEYOND / ACROSS * TILE, BEYOND % ACROSS * TILE);
    let beside = Crop { top, left: left - TILE, height: TILE, width: TILE };
    assert!(scene.window(beside, &limits).is_ok());
    let error = scene.window(Crop { width: TILE + 1, ..beside }, &limits).unwrap_err();
    assert!(matches!(error, ImageError::Decode { .. }), "{error:?}");
    // A window larger than the limits is refused as ever.
    let whole = Encoded::read(&scene.path, "u16x4".parse().unwrap(), &limits).unwrap().decode().unwrap_err();
    assert!(
        matches!(whole, ImageError::TooManyPixels { height: 20_000, width: 20_000, pixels: 400_000_000, .. }),
        "{whole:?}"
    );
    let wide = Crop { top: 0, left: 0, height: 200, width: 301 };
    assert!(matches!(scene.window(wide, &small), Err(ImageError::TooManyPixels { .. })));
}

/// Extends a file with a hole.
fn lengthen(path: &Path, length: u64) {
    OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
}

#[test]
fn a_file_of_any_length_is_read() {
    let scene = Scene::write();
    // The tile beyond the end now lies in the hole.
    lengthen(&scene.path, 5 << 30);
    let (top, left) = (BEYOND / ACROSS * TILE, BEYOND % ACROSS * TILE);
    let error = scene.window(Crop { top, left, height: 1, width: 1 }, &DecodeLimits::default()).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("has 6 bytes, but its pixels take 524288"), "{cause}");
    let crop = Crop { top: 41 * TILE, left: 41 * TILE, height: 1, width: 2 };
    let AnyImage::U16(image) = scene.window(crop, &DecodeLimits::default()).unwrap() else {
        panic!("16 bits")
    };
    let pixel = |column| [0, 1, 2, 3].map(|band| number(41 * TILE, column, band));
    assert_eq!(image.data(), [pixel(41 * TILE), pixel(41 * TILE + 1)].concat());
}

#[test]
fn colours_of_a_large_file_are_computed_from_all_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inks.tif");
    std::fs::write(&path, tiff(&tags([1, 2, 4, 8, UNCOMPRESSED, 5]), &[vec![0, 255, 100, 0, 0, 0, 0, 255]]))
        .unwrap();
    lengthen(&path, 6 << 20);
    let limits = DecodeLimits::default();
    assert_eq!(stored_format(&path, &limits).unwrap(), PixelFormat::Rgb8);
    let image = Encoded::read(&path, "u8x3".parse().unwrap(), &limits).unwrap().decode().unwrap();
    assert_eq!(image.into_u8().unwrap().data(), [255, 0, 155, 0, 0, 0]);
    let small = DecodeLimits { max_bytes: 5 << 20, ..limits };
    let error = stored_format(&path, &small).unwrap_err();
    assert!(matches!(error, ImageError::FileTooLarge { .. }), "{error:?}");
}
