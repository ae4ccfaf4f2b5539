//! Writes label maps as PNG files, and galleries and charts of synthetic segmentations, into a folder: for
//! `check_labels.py`, and to look at.

use std::error::Error;
use std::path::Path;

use mae_data::{ClassMap, Georeference};
use mae_report::{
    Image, SegmentationRow, draw_class_scores, draw_segmentation, overlay_labels, save_label_png,
    save_label_tiff, save_png,
};

const IGNORED: u16 = u16::MAX;
fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).ok_or("usage: segmentation FOLDER [GEOTIFF]")?;
    let folder = Path::new(&folder);
    for (classes, ignores) in [(2, true), (21, true), (255, true), (256, false), (256, true), (1000, true)] {
        let name = format!("labels-{classes}{}.png", if ignores { "-ignored" } else { "" });
        save_label_png(&pattern(61, 83, classes, ignores)?, classes.into(), folder.join(name))?;
    }
    if let Some(scene) = std::env::args_os().nth(2) {
        let georeference = Georeference::read(scene)?.ok_or("the scene has no georeference")?;
        for classes in [21, 1000] {
            let labels = pattern(61, 83, classes, true)?;
            let path = folder.join(format!("labels-{classes}-ignored.tif"));
            save_label_tiff(&labels, classes.into(), &georeference, path)?;
        }
    }
    let voc = ClassMap::voc();
    let voc = voc.classes();
    let names = |count: usize| {
        (0..count).map(move |class| match voc.get(class) {
            Some(name) if count == voc.len() => name.clone(),
            _ if class % 9 == 4 => format!("class {class}, whose name is longer than there is room for"),
            _ => format!("class {class}"),
        })
    };
    for (classes, sizes) in [
        (2, vec![(28, 28), (28, 28)]),
        (21, vec![(375, 500), (500, 333), (224, 224), (224, 224)]),
        (150, vec![(512, 683), (512, 512), (400, 700), (512, 512), (512, 512)]),
    ] {
        let names: Vec<String> = names(classes.into()).collect();
        let rows = sizes.iter().zip(0..).map(|(size, seed)| scene(*size, classes, seed));
        let rows: Vec<SegmentationRow> = rows.collect::<Result<_, _>>()?;
        let title = format!("worst of 1,449 held-out images at step 12,000, {classes} classes");
        save_png(&draw_segmentation(&title, &rows, &names)?, folder.join(format!("gallery-{classes}.png")))?;
        let over = overlay_labels(&rows[1].image, &rows[1].predicted, 0.5)?;
        save_png(&over, folder.join(format!("overlay-{classes}.png")))?;
        let score = |class: usize| ((class * 37 + 11) % 97) as f64 / 97.0;
        let iou: Vec<_> = (0..names.len()).map(|class| (class % 20 != 19).then(|| score(class))).collect();
        let accuracy: Vec<_> = iou.iter().map(|iou| iou.map(|iou| iou.sqrt())).collect();
        let sum: f64 = (0..names.len()).map(|class| 1.0 / (1.0 + class as f64).powi(2)).sum();
        let share: Vec<_> = (0..names.len())
            .map(|class| if class % 20 == 19 { 0.0 } else { 1.0 / (1.0 + class as f64).powi(2) / sum })
            .collect();
        let chart = draw_class_scores("IoU by class", &names, &iou, &accuracy, &share)?;
        save_png(&chart, folder.join(format!("classes-{classes}.png")))?;
    }
    Ok(())
}

/// Returns labels by a rule that `check_labels.py` has too.
fn pattern(height: usize, width: usize, classes: u16, ignores: bool) -> Result<Image<u16>, Box<dyn Error>> {
    let label = |pixel: usize| match (pixel % width, pixel / width) {
        (x, y) if ignores && (x + 2 * y).is_multiple_of(11) => IGNORED,
        (x, y) => ((7 * x + 13 * y) % usize::from(classes)) as u16,
    };
    Ok(Image::new(height, width, 1, (0..height * width).map(label).collect())?)
}

/// Ellipses of several classes. The prediction moves their boundaries and mistakes some for others.
fn scene(
    (height, width): (usize, usize),
    classes: u16,
    seed: usize,
) -> Result<SegmentationRow, Box<dyn Error>> {
    let objects: Vec<_> = (0..3 + usize::from(classes.min(12)))
        .map(|i| {
            let number = |k: usize, below: usize| ((i + 1) * 7919 * k + (seed + 1) * 104_729 / k) % below;
            let (x, y) = (number(1, width) as f64, number(2, height) as f64);
            let (a, b) =
                ((width / 12 + number(3, width / 4)) as f64, (height / 12 + number(5, height / 4)) as f64);
            let class = (number(11, usize::from(classes) * 8) / 8) as u16;
            (x, y, a, b, class)
        })
        .collect();
    let at = |pixel: usize, grown: f64, renames: bool| {
        let (column, row) = ((pixel % width) as f64, (pixel / width) as f64);
        let hit = objects.iter().enumerate().rev().find(|(_, (x, y, a, b, _))| {
            ((column - x) / (a * grown)).powi(2) + ((row - y) / (b * grown)).powi(2) < 1.0
        });
        match hit {
            Some((i, _)) if renames && i % 5 == 2 => (i % usize::from(classes)) as u16,
            Some((_, (.., class))) => *class,
            None => 0,
        }
    };
    let pixels = height * width;
    let truth: Vec<u16> = (0..pixels)
        .map(|pixel| match at(pixel, 1.0, false) {
            class if at(pixel, 0.96, false) != class => IGNORED,
            class => class,
        })
        .collect();
    let predicted = (0..pixels).map(|pixel| at(pixel, 1.12, true)).collect();
    let image = (0..pixels).flat_map(|pixel| {
        let base = usize::from(at(pixel, 1.0, false)) * 53 % 160 + 40;
        let texture = (pixel % width * 3 / 5 + pixel / width * 2) % 48;
        [base + texture, (base * 2 + texture) % 250, 240 - base].map(|value| value as u8)
    });
    Ok(SegmentationRow {
        name: match seed {
            1 => {
                "validation/a_folder_with_a_long_name/another_one/2008_000123_from_the_north_east.jpg".into()
            }
            _ => format!("2008_{:06}.jpg", 123 * seed + 7),
        },
        image: Image::new(height, width, 3, image.collect())?,
        truth: Image::new(height, width, 1, truth)?,
        predicted: Image::new(height, width, 1, predicted)?,
        score: (seed != 3).then_some(0.12 + 0.07 * seed as f64),
    })
}
