//! Training's view of an image and its label map.

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

/// Training's view of an image and its label map: resized by a random factor, a random crop of that, flipped left to right half of the
/// time, its colours changed, and set above and left of a border if it is smaller than the model's size.
///
/// The image is resized bilinearly and antialiased, as [`resize_to`](crate::resize_to) does. The label map goes through the same geometry, and each of its
/// pixels takes the label of the pixel whose middle is nearest: labels are never mixed. Pixels of the border and
/// pixels without data are [ignored](crate::IGNORE).
///
/// # Source
/// mmsegmentation's `RandomResize`, `RandomCrop`, `RandomFlip`, `PhotoMetricDistortion` and padding, in this order.
/// Deviation: mmsegmentation's OpenCV resizes images without antialiasing and label maps by its `nearest`, shifted by half a pixel.
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
    /// Views of `(height, width)`, of images whose shorter side becomes 0.5 to 2 times the shorter side of that.
    ///
    /// # Errors
    /// [`DataError::Image`] for a size with a 0.
    ///
    /// # Source
    /// mmsegmentation's recipes for ADE20K: ratios of 0.5 to 2, crops in which no class has more than 0.75 of the pixels if ten tries find
    /// one, and flips.
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

    /// Takes a square window of so many pixels on each side, at a random place, for the image: for scenes that are much larger than what is
    /// to be seen at a time. No more of a scene than the crop is decoded where its format allows it.
    ///
    /// # Errors
    /// [`DataError::Argument`] for a window of 0 pixels.
    pub fn with_window(self, side: usize) -> Result<Self, DataError> {
        check_window(side)?;
        Ok(Self { window: Some(side), ..self })
    }

    /// The range of the random factor, uniform in it.
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

    /// What the shorter side of an image becomes at a factor of 1, by default the shorter side of the model's size; `None` leaves it as it
    /// is.
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

    /// The largest share that one class may have of a crop's pixels, ignored ones aside, if one of ten crops has no more; 1 takes every crop.
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

    /// Whether half of the views are mirrored (the default): not where left and right tell classes apart.
    #[must_use]
    pub fn with_flip(self, flip: bool) -> Self {
        Self { flip, ..self }
    }

    /// Whether half of the views are turned upside down by a mirror too, as in pictures from above.
    #[must_use]
    pub fn with_vertical_flip(self, vertical_flip: bool) -> Self {
        Self { vertical_flip, ..self }
    }

    /// Whether views are turned by 0, 90, 180 or 270 degrees, each as often.
    #[must_use]
    pub fn with_quarter_turns(self, quarter_turns: bool) -> Self {
        Self { quarter_turns, ..self }
    }

    /// How the colours of the views are changed; by default they are not.
    #[must_use]
    pub fn with_photometric(self, photometric: Option<PhotometricDistortion>) -> Self {
        Self { photometric, ..self }
    }

    /// The pixels of the border, in the image's own numbers: one for all channels or one for each, by default 0. mmsegmentation pads images
    /// that are normalised by 0, which is the mean of the pixels.
    #[must_use]
    pub fn with_fill(self, fill: Vec<f64>) -> Self {
        Self { fill, ..self }
    }

    /// Draws what is seen of an image of `(height, width)`. A crop is taken if `fits` it, or if it is the eleventh.
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
        // Drawn only where wanted: what a view is without them stays the same.
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

    /// Changes the colours of what is shown and puts the border around it.
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
    /// Without a label map, every crop is taken. Panics if colours are to be changed of an image that is not 8-bit RGB.
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
