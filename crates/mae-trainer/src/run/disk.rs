//! Disk space for a run's checkpoints.

use std::path::Path;

use mae_model::{SavedModel, list_params};

use crate::TrainState;

/// A warning if the disk has no room for one checkpoint of a run. `moments` is the number of values that the optimizer
/// keeps for each element of a trained parameter.
pub(crate) fn no_room<M: SavedModel>(state: &TrainState<M>, moments: usize, folder: &Path) -> Option<String> {
    let copies = if state.ema.is_some() { 2 } else { 1 };
    let of = |param: &mae_model::ParamInfo| {
        let numbers = param.shape.iter().product::<usize>();
        numbers * (copies + if param.trained { moments } else { 0 })
    };
    let bytes = list_params(&state.model).iter().map(of).sum::<usize>() as u64 * size_of::<f32>() as u64;
    let free = free_bytes(folder).filter(|free| *free < bytes)?;
    let mb = |bytes: u64| bytes as f64 / 1e6;
    Some(format!(
        "{:.1} MB are free in {}, but one checkpoint takes about {:.1} MB",
        mb(free),
        folder.display(),
        mb(bytes)
    ))
}

/// The bytes that an ordinary user may still write to the file system of a folder.
#[cfg(unix)]
fn free_bytes(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(not(unix))]
fn free_bytes(_: &Path) -> Option<u64> {
    None
}
