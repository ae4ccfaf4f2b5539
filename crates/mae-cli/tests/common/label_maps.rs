//! Images with label maps.

use std::fs;
use std::path::Path;

use image::{GrayImage, Luma, Rgb, RgbImage};

use crate::common::{BLUE, RED};

/// Grey images with a red and a blue rectangle, of several sizes, and their label maps. A row of pixels is ignored.
pub fn rectangles(at: &Path, count: usize) {
    fs::create_dir_all(at.join("images/sub")).unwrap();
    fs::create_dir_all(at.join("masks/sub")).unwrap();
    for i in 0..count as u32 {
        let (width, height) = (20 + i % 3 * 6, 18 + i % 2 * 10);
        let (left, top) = (i * 5 % 9, i * 7 % 8);
        let class = |x: u32, y: u32| match (x.wrapping_sub(left) < 8, y.wrapping_sub(top) < 8) {
            (true, true) => 1,
            (false, true) if x > left + 9 && x < left + 18 => 2,
            _ => 0,
        };
        let noise = |x: u32, y: u32| ((x * 7 + y * 5 + i * 11) % 20) as u8;
        let colour = |x, y| Rgb([[110; 3], RED, BLUE][class(x, y)].map(|value| value + noise(x, y)));
        let label = |x, y| Luma([if y == 0 { 255 } else { class(x, y) as u8 }]);
        let name = if i % 2 == 0 { format!("{i:02}") } else { format!("sub/{i:02}") };
        RgbImage::from_fn(width, height, colour).save(at.join(format!("images/{name}.png"))).unwrap();
        GrayImage::from_fn(width, height, label).save(at.join(format!("masks/{name}.png"))).unwrap();
    }
}
