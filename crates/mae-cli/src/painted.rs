//! Masks given as pictures.

use std::path::Path;

use anyhow::{Result, ensure};
use mae_data::Image;
use mae_masking::Masking;

/// Converts a painted image to a mask over a grid of `(rows, columns)` patches: those with a mean brightness above 0.5
/// are masked. Errors refer to the image as `path`.
pub fn painted(image: &Image, (rows, columns): (usize, usize), path: &Path) -> Result<Masking> {
    let (height, width) = (image.height(), image.width());
    ensure!(
        height >= rows && width >= columns,
        "{} is {height} x {width} px, but each of {rows} x {columns} patches needs a pixel",
        path.display()
    );
    let hidden: Vec<bool> = (0..rows * columns)
        .map(|patch| brightness(image, (patch / columns, rows), (patch % columns, columns)) > 0.5)
        .collect();
    let count = hidden.iter().filter(|hidden| **hidden).count();
    ensure!(
        count > 0 && count < hidden.len(),
        "{} masks {count} of {} patches, but must mask some and leave some visible",
        path.display(),
        hidden.len()
    );
    Ok(Masking::from_mask(&hidden)?)
}

/// The mean brightness, 0 to 1, of one cell of an image: the `row`-th of `rows` and `column`-th of `columns` equal
/// parts.
fn brightness(image: &Image, (row, rows): (usize, usize), (column, columns): (usize, usize)) -> f64 {
    let stretch = |n: usize, of: usize, side: usize| n * side / of..(n + 1) * side / of;
    let (down, across) = (stretch(row, rows, image.height()), stretch(column, columns, image.width()));
    let channels = image.channels();
    let bytes = down.clone().flat_map(|y| {
        let first = y * image.width();
        &image.data()[(first + across.start) * channels..(first + across.end) * channels]
    });
    let sum: u64 = bytes.map(|byte| u64::from(*byte)).sum();
    sum as f64 / (255 * down.len() * across.len() * channels) as f64
}
