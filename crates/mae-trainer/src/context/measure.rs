//! How the pixels of a run are normalised, where nothing says so.

use mae_data::{PixelFormat, PixelStatistics, PixelType};
use mae_ranks::Collective;
use mae_vit::Normalize;

use super::{Data, ImageSet};
use crate::pixels::dtype;
use crate::{DataRecipe, TrainerError};

/// Images that means and deviations are measured on, spread over the training set: ours, for time.
const MEASURED_IMAGES: usize = 1000;

/// A deviation that is taken for none, as a share of the mean: a channel of one number differs from it by rounding.
const FLAT: f64 = 1e-9;

/// Fills in the pixels of a recipe whose images are opened, and mean and deviation of each channel: ImageNet's for 8-bit RGB, for all
/// else those of the training images, which the main rank measures.
///
/// # Errors
/// If the images cannot be read, or all pixels of a channel are equal.
pub(crate) fn fill_pixels(
    recipe: &mut DataRecipe,
    data: &Data,
    ranks: &dyn Collective,
) -> Result<(), TrainerError> {
    let pixels = *recipe.pixels.get_or_insert(data.train.pixels());
    if recipe.normalize.is_some() || pixels == PixelFormat::Rgb8 {
        return Ok(());
    }
    // What went wrong on the main rank is told on all: none of them waits.
    let mut told = Vec::new();
    if ranks.is_main() {
        let measured = measure(recipe, data, pixels).map_err(|error| crate::chain(&error));
        told = serde_json::to_vec(&measured).expect("numbers and text");
    }
    ranks.broadcast(&mut told)?;
    let measured: Result<Normalize, String> = serde_json::from_slice(&told).expect("the main rank wrote it");
    let measured = measured.map_err(|reason| TrainerError::Pixels { pixels, reason })?;
    recipe.normalize = Some(measured);
    Ok(())
}

fn measure(recipe: &DataRecipe, data: &Data, pixels: PixelFormat) -> Result<Normalize, TrainerError> {
    let samples = data.samples(recipe.crops_per_image.max(1));
    let indices = ImageSet::all(&samples).spread(MEASURED_IMAGES).indices;
    let (window, threads) = (recipe.window, recipe.workers.max(1));
    let statistics = PixelStatistics::measure(samples.as_ref(), &indices, window, threads, |_, _| {})?;
    let (mean, std) = (statistics.mean(), statistics.std());
    if let Some(flat) = (0..mean.len()).find(|i| std[*i] <= FLAT * mean[*i].abs().max(f64::MIN_POSITIVE)) {
        let (name, value) = ("the standard deviation of a channel", format!("0 in channel {}", flat + 1));
        let bound = "positive: leave that channel out, or name data.normalize";
        return Err(TrainerError::argument(name, value, bound));
    }
    // Of bytes, white is 1.
    let white = if pixels.pixel_type() == PixelType::U8 { 255.0 } else { 1.0 };
    let scaled = |numbers: Vec<f64>| numbers.into_iter().map(|x| (x / white) as f32).collect();
    Ok(Normalize::of(dtype(pixels.pixel_type()), scaled(mean), scaled(std))?)
}
