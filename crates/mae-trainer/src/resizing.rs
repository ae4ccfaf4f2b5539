//! Converts between the resizing that weight files describe and the transform that loads images for evaluation.

use mae_data::{EvalTransform, Filter, Fit};
use mae_model::{Resize, Resizing};

use crate::TrainerError;

/// The description of a transform in a weight file.
pub(crate) fn said(transform: &EvalTransform) -> Resizing {
    let resize = match transform.fit() {
        Fit::Cover(size) => Resize::Cover(size),
        Fit::Squash(size) => Resize::Squash(size),
    };
    Resizing { resize, filter: transform.filter().to_string() }
}

/// The transform that a weight file describes, for a model of this (height, width).
///
/// # Errors
/// If the file turns resizing off or names an unknown filter; the message quotes its value.
pub fn eval_transform(said: &Resizing, size: (usize, usize)) -> Result<EvalTransform, TrainerError> {
    let fit = match said.resize {
        Resize::Cover(size) => Fit::Cover(size),
        Resize::Squash(size) => Fit::Squash(size),
        Resize::No => {
            return Err(TrainerError::argument("resizing", "off", "on: images may have any size"));
        }
    };
    let known = [Filter::Box, Filter::Bilinear, Filter::Hamming, Filter::Bicubic, Filter::Lanczos];
    let filter = known.into_iter().find(|filter| filter.to_string() == said.filter).ok_or_else(|| {
        let bound = known.map(|filter| filter.to_string()).join(", ");
        TrainerError::argument("interpolation", &said.filter, format!("one of {bound}"))
    })?;
    Ok(EvalTransform::resized(fit, filter, size)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transform_is_the_same_after_a_weight_file() {
        for transform in [
            EvalTransform::new((16, 64), None).unwrap(),
            EvalTransform::new((224, 224), Some(256)).unwrap(),
            EvalTransform::resized(Fit::Squash((30, 40)), Filter::Lanczos, (20, 30)).unwrap(),
        ] {
            let size = mae_data::Transform::output_size(&transform);
            assert_eq!(eval_transform(&said(&transform), size).unwrap(), transform);
        }
        let nearest = Resizing { resize: Resize::Cover((8, 8)), filter: "nearest".into() };
        let error = eval_transform(&nearest, (8, 8)).unwrap_err().to_string();
        assert!(error.contains("nearest") && error.contains("bicubic"), "{error}");
    }
}
