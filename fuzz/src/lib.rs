//! Code that the fuzz targets share: limits, a scratch folder, comparisons with other decoders.

use std::alloc::System;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cap::Cap;
use mae_data::{
    Crop, DataError, DecodeLimits, Encoded, FolderOptions, Image, PixelFormat, PixelType, open_images, stored_format,
};

mod jpeg;
mod orientation;
#[path = "../../crates/mae-cli/src/painted.rs"]
pub mod painted;
#[cfg(feature = "models")]
pub mod weights;

pub use image::ImageFormat;
pub use jpeg::compare as compare_jpeg;
pub use orientation::exif;

/// No input of 1 MB may take more than 1 GB.
#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, 1_000_000_000);

/// Limits for small images, so that executions are quick and many. The target `limits` has the limits that users have.
pub const SMALL: DecodeLimits = DecodeLimits { max_pixels: 1 << 18, max_bytes: 8 << 20 };

/// Whether `data` is a file of this format, by its first bytes.
pub fn is(format: ImageFormat, data: &[u8]) -> bool {
    image::guess_format(data).is_ok_and(|guess| guess == format)
}

/// Decodes a file. The image must have the size that the header announced, within the limits.
pub fn decode(data: &[u8], limits: &DecodeLimits) -> Result<Image, DataError> {
    let encoded = Encoded::new(Path::new("input"), data.into(), PixelFormat::Rgb8, limits)?;
    let (height, width) = encoded.size();
    assert!((height * width) as u64 <= limits.max_pixels, "{height}x{width}");
    let image = encoded.decode()?.into_u8()?;
    assert_eq!((image.height(), image.width(), image.channels()), (height, width, 3));
    Ok(image)
}

/// Decodes a file to its stored values, in every stored format and in the one that the header announces. The image must
/// have that format and be within the limits.
pub fn decode_stored(data: &[u8], limits: &DecodeLimits) {
    let found = stored_format(file("stored", data), limits);
    let all = (1..=4).flat_map(|channels| {
        [PixelType::U8, PixelType::U16, PixelType::F32].map(|pixel_type| PixelFormat::Stored { pixel_type, channels })
    });
    for format in all.chain(found.ok()) {
        let image = Encoded::new(Path::new("input"), data.into(), format, limits).and_then(Encoded::decode);
        let Ok(image) = image else { continue };
        assert!((image.height() * image.width()) as u64 <= limits.max_pixels);
        assert_eq!((image.pixel_type(), image.channels()), (format.pixel_type(), format.channels()));
        // If the whole image can be decoded, so can its last pixel.
        let crop = Crop { top: image.height() - 1, left: image.width() - 1, height: 1, width: 1 };
        let encoded = Encoded::new(Path::new("input"), data.into(), format, limits).expect("it was decoded");
        encoded.decode_part(crop, Vec::new()).expect("it was decoded");
    }
}

/// Opens a folder of packed images, if it can be opened, and loads its first images.
pub fn load_shards(folder: &Path) {
    let Ok(images) = open_images(folder, FolderOptions { limits: SMALL, ..FolderOptions::default() }) else { return };
    assert!(!images.is_empty());
    for index in 0..images.len().min(8) {
        assert!(images.label(index).is_none_or(|label| (label as usize) < images.class_names().len()));
        assert!(!images.name(index).is_empty());
        if let Ok(image) = images.load(index) {
            let size = images.open(index).map(|encoded| encoded.size()).expect("it was loaded");
            assert_eq!(size, (image.height(), image.width()));
        }
    }
    assert!(images.load(images.len()).is_err());
}

/// The scratch folder of this process; `cargo xtask fuzz` removes it.
pub fn scratch() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("mae-fuzz-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder for temporary files");
        folder
    })
}

/// Writes `data` to a file in the scratch folder.
pub fn file(name: &str, data: &[u8]) -> PathBuf {
    let path = scratch().join(name);
    fs::write(&path, data).expect("a temporary file");
    path
}

/// A tar archive of these members.
pub fn archive<'a>(members: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, data) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        // A member whose name tar cannot hold is left out.
        let _ = archive.append_data(&mut header, name, data);
    }
    archive.into_inner().expect("written to memory")
}
