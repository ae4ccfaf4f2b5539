//! A folder that one process works in.

use std::fs::{File, TryLockError};
use std::path::Path;

use crate::TrainerError;

/// The file by which a folder is held.
pub(super) const FILE: &str = "lock";

/// Holds a run's folder; the system lets go of it when the process ends, however it ends.
pub(crate) struct FolderLock {
    /// Held open, never read.
    _file: File,
}

impl FolderLock {
    /// Takes the folder through its file `lock`.
    pub(crate) fn take(folder: &Path) -> Result<Self, TrainerError> {
        let path = folder.join(FILE);
        let file = File::create(&path).map_err(|source| TrainerError::Write { path, source })?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(TrainerError::RunInUse { path: folder.into() }),
            // Some network file systems know no locks: there it is the user's care.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Self { _file: file }),
        }
    }
}
