//! Images that cannot be read: the policy, and a record of them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::DataError;

/// How a loader treats images that cannot be read: truncated, not an image, without read permission, or causing a panic
/// of the decoder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BadFilePolicy {
    /// Substitutes another image, as long as the bad ones are at most `max_share` of the data set.
    Skip {
        /// The share of the data set, in `[0, 1]`.
        max_share: f64,
    },
    /// Returns an error for the first bad image.
    Strict,
}

impl Default for BadFilePolicy {
    /// 5%: more than the few bad files of old, large collections such as ImageNet, and fewer than a partly copied
    /// folder has. Our choice; the papers' loaders stop at the first bad file.
    fn default() -> Self {
        Self::Skip { max_share: 0.05 }
    }
}

impl BadFilePolicy {
    pub(crate) fn validate(self) -> Result<(), DataError> {
        match self {
            Self::Skip { max_share } if !(0.0..=1.0).contains(&max_share) => Err(DataError::Argument {
                name: "max_share of bad files",
                value: max_share.to_string(),
                bound: "0 to 1".to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// Returns the largest allowed share if `bad` of `len` images exceed it.
    pub(crate) fn exceeded_by(self, bad: usize, len: usize) -> Option<f64> {
        let max_share = match self {
            Self::Skip { max_share } => max_share,
            Self::Strict => 0.0,
        };
        // Division is exact here, multiplication is not: 29.0 / 100.0 equals 0.29, but 0.29 * 100.0 is less than 29.
        (bad as f64 / len as f64 > max_share).then_some(max_share)
    }
}

/// An image that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct BadFile {
    /// Its index in the data set.
    pub index: usize,
    /// Its name in the data set.
    pub name: String,
    /// The error, in one line.
    pub reason: String,
}

/// The bad files that a loader has found, each once. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct BadFiles(Arc<Mutex<Met>>);

#[derive(Default)]
struct Met {
    indices: HashSet<usize>,
    files: Vec<BadFile>,
}

impl BadFiles {
    /// Records an image unless it is already recorded.
    pub(crate) fn record(&self, index: usize, name: impl FnOnce() -> String, error: &DataError) {
        self.with(|met| {
            if !met.indices.contains(&index) {
                met.files.push(BadFile { index, name: name(), reason: reason(error) });
                met.indices.insert(index);
            }
        });
    }

    /// All bad files, in the order in which they were found.
    pub(crate) fn files(&self) -> Vec<BadFile> {
        self.with(|met| met.files.clone())
    }

    /// # Errors
    /// [`DataError::TooManyBadFiles`] if there are more than `policy` allows for a data set of `len` images.
    pub(crate) fn check(&self, policy: BadFilePolicy, len: usize) -> Result<(), DataError> {
        const NAMED: usize = 5;
        self.with(|met| {
            let bad = met.files.len();
            let Some(max_share) = policy.exceeded_by(bad, len) else { return Ok(()) };
            let first: Vec<_> = met.files.iter().take(NAMED).map(|file| file.reason.as_str()).collect();
            let more = if bad > NAMED { "; and others" } else { "" };
            Err(DataError::TooManyBadFiles {
                bad,
                len,
                share: bad as f64 / len as f64,
                max_share,
                first: first.join("; ") + more,
            })
        })
    }

    fn with<T>(&self, f: impl FnOnce(&mut Met) -> T) -> T {
        // A panic in `name` records nothing, so the content of a poisoned lock is usable.
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Formats an error and its causes in one line.
pub(crate) fn reason(error: &DataError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_exact() {
        let policy = |max_share| BadFilePolicy::Skip { max_share };
        for percent in 0..=100 {
            let policy = policy(percent as f64 / 100.0);
            assert_eq!(policy.exceeded_by(percent, 100), None);
            assert!(policy.exceeded_by(percent + 1, 100).is_some());
        }
        assert_eq!(BadFilePolicy::default().exceeded_by(1, 20), None);
        assert_eq!(BadFilePolicy::default().exceeded_by(1, 19), Some(0.05));
        assert_eq!(BadFilePolicy::Strict.exceeded_by(1, usize::MAX), Some(0.0));
    }

    #[test]
    fn shares_that_are_none_are_refused() {
        for max_share in [-0.1, 1.1, f64::NAN] {
            let message = BadFilePolicy::Skip { max_share }.validate().unwrap_err().to_string();
            assert_eq!(message, format!("max_share of bad files is {max_share}, but must be 0 to 1"));
        }
    }
}
