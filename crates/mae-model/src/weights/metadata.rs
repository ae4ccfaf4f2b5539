//! The metadata of a weight file.

use serde::Serialize;

/// Metadata keys of the description.
pub(crate) const CONFIG_KEY: &str = "mae.config";
pub(crate) const CLASSIFIER_KEY: &str = "mae.classifier";
pub(crate) const SEGMENTER_KEY: &str = "mae.segmenter";
/// For an encoder alone.
pub(crate) const ENCODER_KEY: &str = "mae.encoder";
pub(crate) const NORMALIZE_KEY: &str = "mae.normalize";
/// Names of the channels of its images.
pub(crate) const CHANNELS_KEY: &str = "mae.channels";
pub(crate) const RESIZING_KEY: &str = "mae.resizing";
/// The keys by which a file describes itself.
pub(crate) const KEYS: [&str; 7] =
    [CONFIG_KEY, CLASSIFIER_KEY, SEGMENTER_KEY, ENCODER_KEY, NORMALIZE_KEY, CHANNELS_KEY, RESIZING_KEY];

/// A description as JSON text.
pub(crate) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("descriptions have string keys and finite numbers")
}
