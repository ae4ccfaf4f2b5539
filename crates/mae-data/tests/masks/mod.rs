//! Small folders of images and label images, for tests.
#![allow(dead_code, reason = "each test file uses a part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mae_data::{
    ClassMap, DataError, FolderOptions, ImageFolder, LabelMapOptions, LabelMaps, Segmented, label_colour,
};
use tempfile::TempDir;

/// A folder with `images` and `masks` in it.
pub struct Folders(pub TempDir);

impl Folders {
    pub fn new() -> Self {
        let folders = Self(tempfile::tempdir().unwrap());
        fs::create_dir(folders.images()).unwrap();
        fs::create_dir(folders.masks()).unwrap();
        folders
    }

    pub fn images(&self) -> PathBuf {
        self.0.path().join("images")
    }

    pub fn masks(&self) -> PathBuf {
        self.0.path().join("masks")
    }

    /// Writes an image of one colour. The size is (height, width).
    pub fn image(&self, name: &str, (height, width): (u32, u32)) -> &Self {
        let path = parent(self.images().join(name));
        image::RgbImage::from_pixel(width, height, image::Rgb([90, 60, 30])).save(path).unwrap();
        self
    }

    /// Writes a grey label image.
    pub fn mask(&self, name: &str, (height, width): (u32, u32), values: &[u8]) -> &Self {
        let path = parent(self.masks().join(name));
        image::GrayImage::from_raw(width, height, values.to_vec()).unwrap().save(path).unwrap();
        self
    }

    pub fn segmented(&self, classes: Option<ClassMap>) -> Result<Segmented, DataError> {
        self.segmented_as(classes, LabelMapOptions::default())
    }

    pub fn segmented_as(
        &self,
        classes: Option<ClassMap>,
        options: LabelMapOptions,
    ) -> Result<Segmented, DataError> {
        let images = Arc::new(ImageFolder::open(self.images(), FolderOptions::default())?);
        Segmented::new(images, LabelMaps::open(self.masks(), classes, options)?)
    }
}

fn parent(path: PathBuf) -> PathBuf {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    path
}

/// Writes a PNG file with VOC's palette.
pub fn palette(path: &Path, (height, width): (u32, u32), indices: &[u8]) {
    let mut encoder = png::Encoder::new(fs::File::create(path).unwrap(), width, height);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette((0..256).flat_map(label_colour).collect::<Vec<u8>>());
    encoder.write_header().unwrap().write_image_data(indices).unwrap();
}

/// Writes a JPEG file with an EXIF orientation.
pub fn turned_jpeg(path: &Path, (height, width): (u32, u32), orientation: u8) {
    let mut file = Vec::new();
    let image = image::RgbImage::from_pixel(width, height, image::Rgb([90, 60, 30]));
    image::codecs::jpeg::JpegEncoder::new(&mut file).encode_image(&image).unwrap();
    let tiff =
        [b"Exif\0\0II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0", &[orientation, 0, 0, 0][..], &[0; 4]];
    let tiff = tiff.concat();
    let length = (tiff.len() as u16 + 2).to_be_bytes();
    file.splice(2..2, [&b"\xff\xe1"[..], &length, &tiff].concat());
    fs::write(path, file).unwrap();
}

/// Classes with the values 0, 1 and so on; 255 is ignored.
pub fn classes(names: &[&str]) -> ClassMap {
    ClassMap::of_values(names.iter().map(|name| (*name).to_owned()).collect(), &[255]).unwrap()
}
