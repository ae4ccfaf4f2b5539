//! Segments images of any size by a model that takes images of one size.

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

/// Windows per forward pass.
const BATCH: usize = 8;

/// How images of any size are passed to a model of one size.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SegmentationSettings {
    /// Windows, mirrors and scales.
    pub predict: PredictSettings,
    /// The shorter side in pixels that images are resized to; 0 keeps their size.
    pub short_side: usize,
}

impl SegmentationSettings {
    /// The settings of the run's evaluations, from its `recipe` in the metadata of the weight file at `path`. Without a
    /// recipe, the defaults for a model of this (height, width).
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
    /// If a value is out of bounds. The error names the setting, its value and the bound.
    pub fn check(&self) -> Result<(), TrainerError> {
        self.predict.check()
    }
}

/// Segments images of any size.
///
/// # Source
/// The windows, their positions and the averages are those of mmsegmentation's `EncoderDecoder.slide_inference`.
#[derive(Clone, Debug)]
pub struct SegmentationPass {
    settings: SegmentationSettings,
    normalize: Normalize,
    device: Device,
}

impl SegmentationPass {
    /// A pass of images with these settings and this normalisation.
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
        let PredictSettings { flip, scales, .. } = &self.settings.predict;
        let mut sum: Option<Tensor<4>> = None;
        let mut count = 0.0;
        for scale in scales {
            let images = self.normalised(&resize_to(image.clone(), self.resized(model, size, *scale))?);
            for mirrored in [false, true].into_iter().take(1 + usize::from(*flip)) {
                let images = if mirrored { images.clone().flip([3]) } else { images.clone() };
                let mut bands = Vec::new();
                self.windows(model, images, |scores| {
                    bands.push(scores);
                    Ok(())
                })?;
                let scores = Tensor::cat(bands, 1);
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

    /// The most probable class of each pixel of an image by [`probabilities`](Self::probabilities), the first of equal
    /// ones. If the image is passed once and at its own size, only the scores of one band are in memory at a time.
    ///
    /// # Shapes
    /// `[H, W, 1]`
    ///
    /// # Errors
    /// As [`probabilities`](Self::probabilities), or if a probability is infinite or NaN.
    pub fn labels(&self, model: &Segmenter, image: &AnyImage) -> Result<Image<u16>, TrainerError> {
        let size @ (height, width) = (image.height(), image.width());
        let PredictSettings { mode, flip, scales, .. } = &self.settings.predict;
        let once = *mode == PredictMode::Slide && !flip && scales.len() == 1;
        if !once || self.resized(model, size, scales[0]) != size {
            return most_probable(self.probabilities(model, image)?);
        }
        let mut labels = Vec::with_capacity(height * width);
        self.windows(model, self.normalised(image), |scores| {
            let band = most_probable(activation::softmax(scores, 3))?;
            labels.extend_from_slice(band.data());
            Ok(())
        })?;
        Ok(Image::new(height, width, 1, labels)?)
    }

    /// The (height, width) that an image of `size` is resized to.
    fn resized(&self, model: &Segmenter, size: (usize, usize), scale: f64) -> (usize, usize) {
        match self.settings.predict.mode {
            PredictMode::Whole => model.config().vit.geometry.image_size(),
            PredictMode::Slide => {
                scaled_size(size, Some(self.settings.short_side).filter(|side| *side > 0), scale)
            }
        }
    }

    /// # Shapes
    /// `[1, C, H, W]`
    fn normalised(&self, image: &AnyImage) -> Tensor<4> {
        let shape = [1, image.channels(), image.height(), image.width()];
        self.normalize.images(image.planes(), shape, &self.device)
    }

    /// Passes the scores of a normalised image of any size to `each`, in bands from top to bottom. The scores of a
    /// pixel are the mean over the windows that contain it.
    ///
    /// # Shapes
    /// `[1, C, H, W]` → `[1, h, W, K]`, whose heights add up to H
    fn windows(
        &self,
        model: &Segmenter,
        image: Tensor<4>,
        mut each: impl FnMut(Tensor<4>) -> Result<(), TrainerError>,
    ) -> Result<(), TrainerError> {
        let [_, channels, height, width] = image.dims();
        let window = model.config().vit.geometry.image_size();
        // The padding is the mean colour.
        let image = image.pad((0, window.1.saturating_sub(width), 0, window.0.saturating_sub(height)), 0.0);
        let [_, _, padded_height, padded_width] = image.dims();
        let (tops, lefts) = (self.places(padded_height, window.0), self.places(padded_width, window.1));
        let corners: Vec<_> =
            tops.iter().flat_map(|top| lefts.iter().map(move |left| (*top, *left))).collect();
        let classes = model.config().classes.len();
        let mut mean = MeanOfWindows::new(padded_width, classes);
        for (i, some) in corners.chunks(BATCH).enumerate() {
            let cut = |(top, left): &(usize, usize)| {
                image.clone().slice([0..1, 0..channels, *top..top + window.0, *left..left + window.1])
            };
            let windows = Tensor::cat(some.iter().map(cut).collect(), 0);
            mean.add(resize_bilinear(channels_last(model.forward(windows)), window), some); // [n, h, w, K]
            // The rows above the next window are complete.
            let next = corners.get((i + 1) * BATCH).map_or(height, |(top, _)| *top);
            if next > mean.first {
                let rows = next - mean.first;
                each(mean.take(next, &self.device).slice([0..1, 0..rows, 0..width, 0..classes]))?;
            }
        }
        Ok(())
    }

    /// The positions of windows along a side: a step apart, and the last at the end.
    fn places(&self, side: usize, window: usize) -> Vec<usize> {
        let step = ((window as f64 * self.settings.predict.stride).round() as usize).max(1);
        let last = side - window;
        (0..=last.div_ceil(step)).map(|i| (i * step).min(last)).collect()
    }
}

/// The mean scores of overlapping windows, in the rows that have not been taken yet.
struct MeanOfWindows {
    width: usize,
    classes: usize,
    /// The first of these rows.
    first: usize,
    /// `[h, W, K]`
    sums: Vec<f32>,
    /// `[h, W]`
    counts: Vec<f32>,
}

impl MeanOfWindows {
    fn new(width: usize, classes: usize) -> Self {
        Self { width, classes, first: 0, sums: Vec::new(), counts: Vec::new() }
    }

    /// Adds the scores `[n, h, w, K]` of windows with these (top, left) corners, in the order of their tops.
    fn add(&mut self, scores: Tensor<4>, corners: &[(usize, usize)]) {
        let [_, rows, columns, classes] = scores.dims();
        let scores = scores.into_data().convert::<f32>().try_to_vec::<f32>().expect("converted to f32");
        let end = corners.last().map_or(0, |(top, _)| (top + rows - self.first) * self.width);
        self.sums.resize(end * classes, 0.0);
        self.counts.resize(end, 0.0);
        let windows = scores.chunks(rows * columns * classes);
        for (scores, (top, left)) in windows.zip(corners) {
            for (row, line) in scores.chunks(columns * classes).enumerate() {
                let start = (top - self.first + row) * self.width + left;
                let sums = &mut self.sums[start * classes..(start + columns) * classes];
                sums.iter_mut().zip(line).for_each(|(sum, score)| *sum += score);
                self.counts[start..start + columns].iter_mut().for_each(|count| *count += 1.0);
            }
        }
    }

    /// Removes and returns the rows above row `end`: `[1, h, W, K]`.
    fn take(&mut self, end: usize, device: &Device) -> Tensor<4> {
        let rows = end - self.first;
        let rest = self.sums.split_off(rows * self.width * self.classes);
        let mut sums = std::mem::replace(&mut self.sums, rest);
        for (sums, count) in sums.chunks_mut(self.classes).zip(self.counts.drain(..rows * self.width)) {
            sums.iter_mut().for_each(|sum| *sum /= count);
        }
        self.first = end;
        Tensor::from_data(TensorData::new(sums, [1, rows, self.width, self.classes]), device)
    }
}

/// The most probable class of each pixel, the first of equal ones.
///
/// # Shapes
/// `[1, H, W, K]` → `[H, W, 1]`
///
/// # Errors
/// If a probability is infinite or NaN.
pub(super) fn most_probable(probabilities: Tensor<4>) -> Result<Image<u16>, TrainerError> {
    let [_, height, width, classes] = probabilities.dims();
    let values = probabilities.into_data().convert::<f32>().try_to_vec::<f32>().expect("converted to f32");
    if let Some(at) = values.iter().position(|value| !value.is_finite()) {
        let (row, column) = (at / classes / width, at / classes % width);
        let value = format!("{} at row {row}, column {column}", values[at]);
        return Err(TrainerError::argument(
            "a class's probability",
            value,
            "finite: the model or the image is not",
        ));
    }
    let best = |scores: &[f32]| {
        let first = |best, class| if scores[class] > scores[best] { class } else { best };
        (1..classes).fold(0, first) as u16
    };
    Ok(Image::new(height, width, 1, values.chunks(classes).map(best).collect())?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use mae_model::{Preset, SegmentationHead, SegmenterConfig};
    use mae_vit::Geometry;

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
    fn probabilities_that_are_not_finite_are_no_class() {
        let values = vec![0.5, 0.5, 0.25, f32::NAN];
        let probabilities = Tensor::from_data(TensorData::new(values, [1, 1, 2, 2]), &Device::flex());
        let error = most_probable(probabilities).unwrap_err().to_string();
        assert!(error.contains("NaN at row 0, column 1"), "{error}");
    }

    #[test]
    fn a_pixel_has_the_mean_of_its_windows_and_finished_rows_are_taken() {
        let device = Device::flex();
        let mut mean = MeanOfWindows::new(3, 2);
        let window = |value: f32| Tensor::<4>::full([1, 2, 2, 2], value, &device);
        let taken =
            |mean: &mut MeanOfWindows, end| mean.take(end, &device).into_data().try_to_vec::<f32>().unwrap();
        mean.add(Tensor::cat(vec![window(1.0), window(3.0)], 0), &[(0, 0), (0, 1)]);
        assert_eq!(taken(&mut mean, 1), [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]);
        mean.add(Tensor::cat(vec![window(5.0), window(7.0)], 0), &[(1, 0), (1, 1)]);
        assert_eq!(
            taken(&mut mean, 3),
            [[3.0, 3.0, 4.0, 4.0, 5.0, 5.0], [5.0, 5.0, 6.0, 6.0, 7.0, 7.0]].concat()
        );
    }

    #[test]
    fn labels_by_bands_are_those_of_the_probabilities() {
        let device = Device::flex();
        let vit = Preset::Nano.config(Geometry::new((16, 16), 4, 3).unwrap()).vit();
        let classes = (0..8).map(|class| class.to_string()).collect();
        let config = SegmenterConfig { vit, head: SegmentationHead::Linear, classes };
        let model = config.init(3, &device).unwrap();
        let mut settings = SegmentationSettings::of_run(None, Path::new(""), (16, 16)).unwrap();
        settings.short_side = 0;
        let pass = SegmentationPass::new(settings, Normalize::half(3), device);
        let mut found = BTreeSet::<u16>::new();
        for (height, width) in [(70, 53), (16, 40), (9, 100), (33, 7)] {
            // Squares of different colours.
            let pixel = |i: usize| (i / 3 / width / 9 * 83 + i / 3 % width / 9 * 59 + i % 3 * 101) % 251;
            let pixels = (0..height * width * 3).map(|i| pixel(i) as u8).collect();
            let image = AnyImage::from(Image::new(height, width, 3, pixels).unwrap());
            let all = most_probable(pass.probabilities(&model, &image).unwrap()).unwrap();
            found.extend(all.data());
            assert_eq!(pass.labels(&model, &image).unwrap(), all, "{height}x{width}");
        }
        assert!(found.len() > 2, "{found:?}");
    }
}
