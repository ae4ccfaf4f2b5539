//! The training transform of an image and its label map.

use std::collections::BTreeMap;

use mae_image::{Part, check_size};

use super::geometry::Geometry;
use super::joint::JointTransform;
use super::photometric::PhotometricDistortion;
use super::scale::scaled_size;
use crate::transform::crop::{check_window, random_window};
use crate::{
    AnyImage, Crop, DataError, Encoded, IGNORE, LabelMap, PixelFormat, SampleRng, Transform, below, uniform,
};

/// The training transform of an image and its label map. It resizes by a random factor, crops at random, flips left to
/// right half of the time and optionally changes colours. If the result is smaller than the model's size, it adds a
/// border to the right and below.
///
/// The image is resized bilinearly and antialiased, as [`resize_to`](crate::resize_to) does. The label map goes through
/// the same geometry. Each of its pixels takes the label of the pixel whose centre is nearest, so labels are never
/// interpolated. Pixels of the border and pixels without data are [ignored](crate::IGNORE).
///
/// # Source
/// mmsegmentation's `RandomResize`, `RandomCrop`, `RandomFlip`, `PhotoMetricDistortion` and padding, in this order.
/// Deviation: mmsegmentation uses OpenCV, which resizes images without antialiasing and label maps with its `nearest`,
/// shifted by half a pixel.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentTransform {
    size: (usize, usize),
    window: Option<usize>,
    short_side: Option<usize>,
    scale: (f64, f64),
    largest_share: f64,
    flip: bool,
    vertical_flip: bool,
    quarter_turns: bool,
    photometric: Option<PhotometricDistortion>,
    fill: Vec<f64>,
}

impl SegmentTransform {
    /// Creates views of `(height, width)`. By default, an image's shorter side is resized to 0.5 to 2 times the shorter
    /// side of that size.
    ///
    /// # Errors
    /// [`DataError::Image`] for a size with a 0.
    ///
    /// # Source
    /// mmsegmentation's recipes for ADE20K: ratios of 0.5 to 2, flips, and crops in which every class has less than
    /// 0.75 of the pixels, if ten tries find one.
    pub fn new(size: (usize, usize)) -> Result<Self, DataError> {
        check_size(size)?;
        Ok(Self {
            size,
            window: None,
            short_side: Some(size.0.min(size.1)),
            scale: (0.5, 2.0),
            largest_share: 0.75,
            flip: true,
            vertical_flip: false,
            quarter_turns: false,
            photometric: None,
            fill: vec![0.0],
        })
    }

    /// Treats a square window of `side` pixels at a random position as the image. For scenes that are much larger than
    /// what the model should see at once. If the scene's format allows it, only the crop is decoded.
    ///
    /// # Errors
    /// [`DataError::Argument`] for a window of 0 pixels.
    pub fn with_window(self, side: usize) -> Result<Self, DataError> {
        check_window(side)?;
        Ok(Self { window: Some(side), ..self })
    }

    /// Sets the range of the random factor, which is uniform within it.
    ///
    /// # Errors
    /// [`DataError::Argument`] unless 0 < low ≤ high.
    pub fn with_scale(self, scale: (f64, f64)) -> Result<Self, DataError> {
        let (low, high) = scale;
        if low > 0.0 && low <= high && high.is_finite() {
            return Ok(Self { scale, ..self });
        }
        let (value, bound) = (format!("{low} to {high}"), "0 < low <= high".to_owned());
        Err(DataError::Argument { name: "scale", value, bound })
    }

    /// Sets the shorter side of an image at a factor of 1. The default is the shorter side of the model's size; `None`
    /// keeps the image's own.
    ///
    /// # Errors
    /// [`DataError::Argument`] for 0.
    pub fn with_short_side(self, short_side: Option<usize>) -> Result<Self, DataError> {
        if short_side != Some(0) {
            return Ok(Self { short_side, ..self });
        }
        let bound = "at least 1".to_owned();
        Err(DataError::Argument { name: "short side", value: "0".into(), bound })
    }

    /// Sets the share of a crop's pixels, ignored ones aside, that every class must stay below. If ten crops fail, the
    /// next is taken; 1 takes every crop.
    ///
    /// # Errors
    /// [`DataError::Argument`] unless it is above 0 and at most 1.
    pub fn with_largest_share(self, largest_share: f64) -> Result<Self, DataError> {
        if largest_share > 0.0 && largest_share <= 1.0 {
            return Ok(Self { largest_share, ..self });
        }
        let (value, bound) = (largest_share.to_string(), "above 0 and at most 1".to_owned());
        Err(DataError::Argument { name: "largest share", value, bound })
    }

    /// Sets whether half of the views are mirrored (the default). Turn it off if left and right distinguish classes.
    #[must_use]
    pub fn with_flip(self, flip: bool) -> Self {
        Self { flip, ..self }
    }

    /// Sets whether half of the views are also flipped top to bottom, as for images from above.
    #[must_use]
    pub fn with_vertical_flip(self, vertical_flip: bool) -> Self {
        Self { vertical_flip, ..self }
    }

    /// Sets whether views are rotated by 0, 90, 180 or 270 degrees, with equal probability.
    #[must_use]
    pub fn with_quarter_turns(self, quarter_turns: bool) -> Self {
        Self { quarter_turns, ..self }
    }

    /// Sets how the colours of the views are changed; by default they are not.
    #[must_use]
    pub fn with_photometric(self, photometric: Option<PhotometricDistortion>) -> Self {
        Self { photometric, ..self }
    }

    /// Sets the pixel values of the border, on the image's own scale: one for all channels or one for each. The default
    /// is 0; mmsegmentation pads normalised images with 0, which is the mean of the pixels.
    #[must_use]
    pub fn with_fill(self, fill: Vec<f64>) -> Self {
        Self { fill, ..self }
    }

    /// Draws the geometry of a view of an image of `(height, width)`. Takes the first crop for which `fits` returns
    /// true, or else the eleventh.
    fn draw(
        &self,
        side: (usize, usize),
        rng: &mut SampleRng,
        mut fits: impl FnMut(&Geometry) -> bool,
    ) -> Geometry {
        /// # Source
        /// mmsegmentation's `RandomCrop`.
        const TRIES: usize = 10;
        let window = self.window.map(|window| random_window(window, side, rng));
        let Crop { top, left, height, width } =
            window.unwrap_or(Crop { top: 0, left: 0, height: side.0, width: side.1 });
        let (origin, side) = ((top, left), (height, width));
        let (low, high) = self.scale;
        let resized = scaled_size(side, self.short_side, low + (high - low) * uniform(rng));
        // Drawn only if enabled, so that views without them stay the same.
        let mirrored = uniform(rng) < 0.5 && self.flip;
        let upside_down = self.vertical_flip && uniform(rng) < 0.5;
        let quarters = if self.quarter_turns { below(rng, 4) } else { 0 };
        let (height, width) = if quarters % 2 == 1 { (self.size.1, self.size.0) } else { self.size };
        let (height, width) = (height.min(resized.0), width.min(resized.1));
        let all =
            Geometry::new(side, resized, self.size).moved(origin).turned(mirrored, upside_down, quarters);
        let mut crop = || {
            let top = below(rng, (resized.0 - height + 1) as u64) as usize;
            let left = below(rng, (resized.1 - width + 1) as u64) as usize;
            all.clone().cropped(Crop { top, left, height, width })
        };
        let mut drawn = crop();
        for _ in 0..TRIES {
            if fits(&drawn) {
                break;
            }
            drawn = crop();
        }
        drawn
    }

    /// Changes the colours of the visible part and adds the border.
    fn finish(
        &self,
        geometry: &Geometry,
        mut image: AnyImage,
        rng: &mut SampleRng,
    ) -> Result<AnyImage, DataError> {
        if let Some(photometric) = &self.photometric {
            image = photometric.apply(image, rng)?;
        }
        let channels = image.channels();
        match self.fill.len() {
            1 => Ok(geometry.bordered(image, &self.fill.repeat(channels))),
            _ => {
                self.check_fill(channels)?;
                Ok(geometry.bordered(image, &self.fill))
            }
        }
    }

    fn check_fill(&self, channels: usize) -> Result<(), DataError> {
        match self.fill.len() {
            1 => Ok(()),
            count if count == channels => Ok(()),
            count => Err(DataError::Argument {
                name: "the fill of borders",
                value: format!("{count} numbers"),
                bound: format!("1 number, or {channels}, one for each channel"),
            }),
        }
    }
}

impl Transform for SegmentTransform {
    /// Without a label map, takes the first crop. Panics if colours are to be changed and the image is not 8-bit RGB,
    /// or if the fill does not match the channels.
    fn apply(&self, image: AnyImage, rng: &mut SampleRng) -> AnyImage {
        let geometry = self.draw((image.height(), image.width()), rng, |_| true);
        let shown = geometry.shown(&Part::whole(image));
        self.finish(&geometry, shown, rng).expect("images that the transform was made for")
    }

    fn output_size(&self) -> (usize, usize) {
        self.size
    }

    fn joint(&self) -> Option<&dyn JointTransform> {
        Some(self)
    }
}

impl JointTransform for SegmentTransform {
    fn apply_both(
        &self,
        image: Encoded,
        map: &LabelMap,
        rng: &mut SampleRng,
    ) -> Result<(AnyImage, LabelMap), DataError> {
        let mut counts = BTreeMap::new();
        let geometry = self.draw(image.size(), rng, |geometry| {
            if self.largest_share >= 1.0 {
                return true;
            }
            geometry.counts(map, &mut counts);
            counts.remove(&IGNORE);
            let (all, most) = (counts.values().sum::<usize>(), counts.values().max().copied().unwrap_or(0));
            counts.len() > 1 && (most as f64) < self.largest_share * all as f64
        });
        let shown = geometry.shown(&image.decode_part(geometry.visible(), Vec::new())?);
        let map = geometry.bordered_map(geometry.shown_map(map).where_known(&shown));
        Ok((self.finish(&geometry, shown, rng)?, map))
    }

    fn check(&self, pixels: PixelFormat) -> Result<(), DataError> {
        if self.photometric.is_some() {
            PhotometricDistortion::check(pixels)?;
        }
        self.check_fill(pixels.channels())
    }
}
