//! Transforms of images: crops, resizing, augmentation.

pub(crate) mod augment;
pub(crate) mod crop;
mod eval;
mod filter;
mod finetune;
mod rand_augment;
mod random_erasing;
pub(crate) mod resample;
pub(crate) mod resample_wide;
pub(crate) mod resize;
mod segment;
mod train;
mod view;

pub use augment::AugmentOp;
pub use crop::RandomResizedCrop;
pub use eval::{EvalTransform, Fit};
pub use filter::Filter;
pub use finetune::FinetuneTransform;
pub use rand_augment::RandAugment;
pub use random_erasing::RandomErasing;
pub use resize::resized_crop;
pub use segment::{JointTransform, PhotometricDistortion, SegmentTransform, resize_to, scaled_size};
pub use train::{TrainTransform, Transform};
pub use view::View;
