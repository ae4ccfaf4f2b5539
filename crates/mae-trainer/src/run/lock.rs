//! A lock that reserves a run's folder for one process.

use std::fs::{File, TryLockError};
use std::path::Path;

use crate::TrainerError;

/// The file that is locked.
pub(super) const FILE: &str = "lock";

/// A lock on a run's folder. The system releases it when the process ends, however it ends.
pub(crate) struct FolderLock {
    /// Kept open, never read.
    _file: File,
}

impl FolderLock {
    /// Locks the folder by its file `lock`.
    pub(crate) fn take(folder: &Path) -> Result<Self, TrainerError> {
        let path = folder.join(FILE);
        let file = File::create(&path).map_err(|source| TrainerError::Write { path, source })?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(TrainerError::RunInUse { path: folder.into() }),
            // Some network file systems do not support locks. There, users must take care themselves.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Self { _file: file }),
        }
    }
}
