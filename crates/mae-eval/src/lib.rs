//! Evaluates frozen features and classifiers: weighted k-nearest-neighbour accuracy, a linear probe solved to
//! convergence, accuracies with a confusion matrix, average precision for multi-label images, and IoU, accuracy and
//! Dice of segmentations. It works on slices: no tensors, no files.
//!
//! [`Features`] is the principal type: one feature vector per image.
//!
//! ```
//! use mae_eval::{Features, knn_accuracy, probe_accuracy};
//!
//! let train = Features::new(vec![1.0, 0.1, 0.9, 0.0, 0.1, 1.0, 0.0, 0.8], 2)?;
//! let test = Features::new(vec![0.7, 0.1, 0.2, 0.9], 2)?;
//! assert_eq!(knn_accuracy(&train, &[0, 0, 1, 1], &test, &[0, 1], 2, 0.07)?, 1.0);
//! assert_eq!(probe_accuracy(&train, &[0, 0, 1, 1], &test, &[0, 1])?, 1.0);
//! # Ok::<(), mae_eval::EvalError>(())
//! ```

mod error;
mod knn;
mod lbfgs;
mod multi_label;
mod probe;
mod scores;
mod segmentation;

pub use error::EvalError;
pub use knn::{Features, KNN_TEMPERATURE, knn_accuracy, knn_predict};
pub use multi_label::{ClassScores, MultiLabelScores, score_multi_label};
pub use probe::{probe_accuracy, probe_predict};
pub use scores::{Scores, score};
pub use segmentation::{IGNORE_LABEL, PixelCounts, SegmentationScores, image_mean_iou, image_pixel_accuracy};

/// The README's examples, as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
