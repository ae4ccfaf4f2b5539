//! Writes the built-in scenes of several shapes with their label maps as PNG to OUT/{train,val}/{images,masks}, and
//! OUT/classes.toml.

use std::error::Error;
use std::fs::{self, File};
use std::path::Path;

use mae_data::{ClassMap, ImageSource, LabelMap, SegmentedShapes, label_colour, load_with_map};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [out, train, val, side] = arguments.as_slice() else {
        return Err("usage: segmented_shapes OUT TRAIN-IMAGES VAL-IMAGES SIDE-PX".into());
    };
    let (out, side) = (Path::new(out), side.parse()?);
    for (seed, part, count) in [(0, "train", train), (1, "val", val)] {
        let shapes = SegmentedShapes::new(seed, count.parse()?, (side, side))?;
        let [images, masks] = ["images", "masks"].map(|folder| out.join(part).join(folder));
        fs::create_dir_all(&images)?;
        fs::create_dir_all(&masks)?;
        for index in 0..shapes.len() {
            let (image, map) = load_with_map(&shapes, index)?;
            let name = format!("{index:04}.png");
            let pixels = image::RgbImage::from_raw(side as u32, side as u32, image.into_u8()?.into_data());
            pixels.ok_or("an image of another size")?.save(images.join(&name))?;
            write_palette(&masks.join(&name), &map)?;
        }
        let classes = ClassMap::of_values(shapes.map_classes().to_vec(), &[])?;
        fs::write(out.join("classes.toml"), toml::to_string(&classes)?)?;
    }
    Ok(())
}

/// Writes a label map of at most 256 classes as a palette PNG.
fn write_palette(path: &Path, map: &LabelMap) -> Result<(), Box<dyn Error>> {
    let mut encoder = png::Encoder::new(File::create(path)?, map.width() as u32, map.height() as u32);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette((0..256).flat_map(label_colour).collect::<Vec<u8>>());
    let indices = map.labels().iter().map(|label| u8::try_from(*label)).collect::<Result<Vec<_>, _>>()?;
    encoder.write_header()?.write_image_data(&indices)?;
    Ok(())
}
