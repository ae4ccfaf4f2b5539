//! Whole images through a model that takes images of one size.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData, activation};
use mae_data::{AnyImage, Image, resize_to, scaled_size};
use mae_model::Segmenter;
use mae_vit::Normalize;
use mae_vit::dense::resize_bilinear;
use serde::Serialize;

use super::loss::channels_last;
use super::recipe::{PredictMode, PredictSettings, SegmentRecipe};
use crate::{Recipe, Section, TrainerError};

/// Windows of one forward pass.
const BATCH: usize = 8;

/// How images of any size are seen by a model of one size.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SegmentationSettings {
    /// Windows, mirrors and scales.
    pub predict: PredictSettings,
    /// The shorter side in pixels that images are resized to; 0 for their own.
    pub short_side: usize,
}

impl SegmentationSettings {
    /// As in the evaluations of the run whose recipe is in the metadata of the file at `path`, or by default for a model of this
    /// (height, width).
    ///
    /// # Errors
    /// If the recipe is not one of segmentation.
    pub fn of_run(recipe: Option<&str>, path: &Path, size: (usize, usize)) -> Result<Self, TrainerError> {
        let recipe = match recipe {
            Some(text) => Recipe::<SegmentRecipe>::parse(text, path)?.task,
            None => SegmentRecipe::default(),
        };
        let short_side = recipe.segment.short_side.unwrap_or(size.0.min(size.1));
        Ok(Self { predict: recipe.predict.settle(), short_side })
    }

    /// Checks every value.
    ///
    /// # Errors
    /// Names the setting, its value and the bound.
    pub fn check(&self) -> Result<(), TrainerError> {
        self.predict.check()
    }
}

/// Segments images of any size.
///
/// # Source
/// Windows, their places and the averages as in mmsegmentation's `EncoderDecoder.slide_inference`.
#[derive(Clone, Debug)]
pub struct SegmentationPass {
    settings: SegmentationSettings,
    normalize: Normalize,
    device: Device,
}

impl SegmentationPass {
    /// Of images that are normalised so.
    pub fn new(settings: SegmentationSettings, normalize: Normalize, device: Device) -> Self {
        Self { settings, normalize, device }
    }

    /// The probabilities of classes for each pixel of an image.
    ///
    /// # Shapes
    /// `[1, H, W, K]`, of the image's height and width
    ///
    /// # Errors
    /// If the image cannot be resized.
    pub fn probabilities(&self, model: &Segmenter, image: &AnyImage) -> Result<Tensor<4>, TrainerError> {
        let size = (image.height(), image.width());
        let SegmentationSettings { predict, short_side } = &self.settings;
        let short_side = Some(*short_side).filter(|side| *side > 0);
        let mut sum: Option<Tensor<4>> = None;
        let mut count = 0.0;
        for scale in &predict.scales {
            let target = match predict.mode {
                PredictMode::Whole => model.config().vit.geometry.image_size(),
                PredictMode::Slide => scaled_size(size, short_side, *scale),
            };
            let resized = resize_to(image.clone(), target)?;
            let shape = [1, resized.channels(), resized.height(), resized.width()];
            let images = self.normalize.images(resized.planes(), shape, &self.device);
            for mirrored in [false, true].into_iter().take(1 + usize::from(predict.flip)) {
                let images = if mirrored { images.clone().flip([3]) } else { images.clone() };
                let scores = self.windows(model, images);
                let scores = if mirrored { scores.flip([2]) } else { scores };
                let probabilities = activation::softmax(resize_bilinear(scores, size), 3);
                sum = Some(match sum {
                    Some(sum) => sum + probabilities,
                    None => probabilities,
                });
                count += 1.0;
            }
        }
        let sum = sum.ok_or_else(|| TrainerError::argument("scales", "empty", "at least one factor"))?;
        Ok(sum.div_scalar(count))
    }

    /// The scores of a normalised image of any size: the mean of those of the windows that a pixel lies in.
    ///
    /// # Shapes
    /// `[1, C, H, W]` → `[1, H, W, K]`
    fn windows(&self, model: &Segmenter, image: Tensor<4>) -> Tensor<4> {
        let [_, channels, height, width] = image.dims();
        let window = model.config().vit.geometry.image_size();
        // Beyond the image is the mean colour.
        let image = image.pad((0, window.1.saturating_sub(width), 0, window.0.saturating_sub(height)), 0.0);
        let [_, _, padded_height, padded_width] = image.dims();
        let (tops, lefts) = (self.places(padded_height, window.0), self.places(padded_width, window.1));
        let corners: Vec<_> =
            tops.iter().flat_map(|top| lefts.iter().map(move |left| (*top, *left))).collect();
        let classes = model.config().classes.len();
        let mut mean = MeanOfWindows::new(padded_height, padded_width, classes);
        for corners in corners.chunks(BATCH) {
            let cut = |(top, left): &(usize, usize)| {
                image.clone().slice([0..1, 0..channels, *top..top + window.0, *left..left + window.1])
            };
            let windows = Tensor::cat(corners.iter().map(cut).collect(), 0);
            let scores = resize_bilinear(channels_last(model.forward(windows)), window); // [n, h, w, K]
            mean.add(scores, corners);
        }
        mean.finish(&self.device).slice([0..1, 0..height, 0..width, 0..classes])
    }

    /// Where windows begin along a side: a step apart, and the last at the end.
    fn places(&self, side: usize, window: usize) -> Vec<usize> {
        let step = ((window as f64 * self.settings.predict.stride).round() as usize).max(1);
        let last = side - window;
        (0..=last.div_ceil(step)).map(|i| (i * step).min(last)).collect()
    }
}

/// The mean of the scores of overlapping windows.
struct MeanOfWindows {
    width: usize,
    classes: usize,
    /// `[H, W, K]`
    sums: Vec<f32>,
    /// `[H, W]`
    counts: Vec<f32>,
}

impl MeanOfWindows {
    fn new(height: usize, width: usize, classes: usize) -> Self {
        let pixels = height * width;
        Self { width, classes, sums: vec![0.0; pixels * classes], counts: vec![0.0; pixels] }
    }

    /// Adds the scores `[n, h, w, K]` of windows with these (top, left) corners.
    fn add(&mut self, scores: Tensor<4>, corners: &[(usize, usize)]) {
        let [_, rows, columns, classes] = scores.dims();
        let scores = scores.into_data().convert::<f32>().try_to_vec::<f32>().expect("converted to f32");
        let windows = scores.chunks(rows * columns * classes);
        for (scores, (top, left)) in windows.zip(corners) {
            for (row, line) in scores.chunks(columns * classes).enumerate() {
                let first = (top + row) * self.width + left;
                let sums = &mut self.sums[first * classes..(first + columns) * classes];
                sums.iter_mut().zip(line).for_each(|(sum, score)| *sum += score);
                self.counts[first..first + columns].iter_mut().for_each(|count| *count += 1.0);
            }
        }
    }

    /// `[1, H, W, K]`
    fn finish(mut self, device: &Device) -> Tensor<4> {
        for (sums, count) in self.sums.chunks_mut(self.classes).zip(&self.counts) {
            sums.iter_mut().for_each(|sum| *sum /= count);
        }
        let height = self.counts.len() / self.width;
        Tensor::from_data(TensorData::new(self.sums, [1, height, self.width, self.classes]), device)
    }
}

/// The most probable class of each pixel, the first of equal ones.
///
/// # Shapes
/// `[1, H, W, K]` → `[H, W, 1]`
///
/// # Errors
/// Of what cannot be an image.
pub fn most_probable(probabilities: Tensor<4>) -> Result<Image<u16>, TrainerError> {
    let [_, height, width, classes] = probabilities.dims();
    let values = probabilities.into_data().convert::<f32>().try_to_vec::<f32>().expect("converted to f32");
    let best = |scores: &[f32]| {
        let first = |best, class| if scores[class] > scores[best] { class } else { best };
        (1..classes).fold(0, first) as u16
    };
    Ok(Image::new(height, width, 1, values.chunks(classes).map(best).collect())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_a_side_and_end_with_it() {
        let settings = SegmentationSettings::of_run(None, Path::new(""), (6, 6)).unwrap();
        let pass = SegmentationPass::new(settings, Normalize::half(3), Device::flex());
        assert_eq!(pass.places(6, 6), [0]);
        assert_eq!(pass.places(7, 6), [0, 1]);
        assert_eq!(pass.places(10, 6), [0, 4]);
        assert_eq!(pass.places(15, 6), [0, 4, 8, 9]);
    }

    #[test]
    fn a_pixel_has_the_mean_of_its_windows() {
        let device = Device::flex();
        let mut mean = MeanOfWindows::new(2, 3, 2);
        let window = |value: f32| Tensor::<4>::full([1, 2, 2, 2], value, &device);
        mean.add(Tensor::cat(vec![window(1.0), window(3.0)], 0), &[(0, 0), (0, 1)]);
        let all = mean.finish(&device).into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(all, [1.0, 1.0, 2.0, 2.0, 3.0, 3.0].repeat(2));
    }
}
