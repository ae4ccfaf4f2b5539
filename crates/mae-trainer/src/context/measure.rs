//! Measures how the pixels of a run are normalised if the recipe does not say.

use mae_data::{PixelFormat, PixelStatistics, PixelType};
use mae_ranks::Collective;
use mae_vit::Normalize;

use super::{Data, ImageSet};
use crate::pixels::dtype;
use crate::{DataRecipe, TrainerError};

/// The number of images, spread over the training set, that means and standard deviations are measured on. Our choice,
/// to save time.
const MEASURED_IMAGES: usize = 1000;

/// The standard deviation, as a share of the mean, up to which a channel counts as constant. Rounding may keep
/// that of a constant channel from being exactly 0.
const FLAT: f64 = 1e-9;

/// Fills in the pixel format of a recipe whose images are open, and each channel's mean and standard deviation, which
/// the main rank measures on the training images. For 8-bit RGB, it leaves these open: `Recipe::fill` takes ImageNet's.
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
    // An error on the main rank is sent to all ranks, so that none waits for a result.
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
        let bound = "positive: leave that channel out, or set data.normalize";
        return Err(TrainerError::argument(name, value, bound));
    }
    // Bytes are scaled so that white is 1.
    let white = if pixels.pixel_type() == PixelType::U8 { 255.0 } else { 1.0 };
    let scaled = |numbers: Vec<f64>| numbers.into_iter().map(|x| (x / white) as f32).collect();
    Ok(Normalize::of(dtype(pixels.pixel_type()), scaled(mean), scaled(std))?)
}
