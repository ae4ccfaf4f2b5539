//! The dry run of a recipe: its plan, a look at its data, and time and memory measured on a few updates.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use burn::tensor::Device;

use crate::context::{Aside, ImageSet};
use crate::{Collective, Recipe, Run, Task, TrainerError, train_step};
use mae_report::duration;

/// The number of images decoded to check that the data can be read.
const LOOKED_AT: usize = 256;

/// The number of updates that are timed, after one for warm-up.
const TIMED: u64 = 3;

/// Reports plan, data, time and memory of a recipe as text. It leaves nothing on disk. Several ranks measure together.
///
/// # Errors
/// If the recipe or the data cannot be used.
pub fn dry_run<T: Task>(
    ranks: &Arc<dyn Collective>,
    recipe: &Recipe<T::Recipe>,
    device: &Device,
    device_name: &str,
    tell: fn(&str),
) -> Result<String, TrainerError> {
    // A non-finite loss writes files here. The folder is deleted when this function returns.
    let folder = std::env::temp_dir();
    let folder = tempfile::tempdir().map_err(|source| TrainerError::Write { path: folder, source })?;
    let mut recipe = recipe.clone();
    // Reading the metrics of every update waits for the device. Otherwise, the timer would stop before the updates end.
    recipe.eval.metric_steps = Some(1);
    let run = Run::<T>::prepare_on(ranks, &recipe, folder.path())?;
    run.agree()?;
    let mut state = run.initial_state(device)?;
    let mut text = run.plan(&state.model, device_name) + "\n";
    let mut line = |name: &str, value: String| writeln!(text, "{name:<15} {value}").expect("a string grows");

    let sample = ImageSet::all(&run.data.train).spread(LOOKED_AT);
    let count = sample.indices.len();
    let loader = run.evaluation_loader(&sample, count.min(64))?;
    for batch in loader.batches(0, sample.indices, 0)? {
        batch?;
    }
    let size = run.geometry.image_size();
    for warning in mae_data::data_warnings(run.data.train.as_ref(), size) {
        line("warning", warning.to_string());
    }
    let bad = loader.bad_files();
    line("checked", format!("{count} images, {} of them unreadable", bad.len()));
    bad.iter().for_each(|file| line("unreadable", file.reason.clone()));

    run.task.prepare(&run, &state.model, device, &Aside { tell, ..Aside::QUIETLY })?;
    let mut updates = run.updates();
    train_step(&run, &mut state, &mut updates, device)?;
    let timed = TIMED.min(run.pace.total_steps - 1);
    if timed > 0 {
        let began = Instant::now();
        for _ in 0..timed {
            train_step(&run, &mut state, &mut updates, device)?;
        }
        let step_s = began.elapsed().as_secs_f64() / timed as f64;
        let rate = run.pace.effective_batch as f64 / step_s;
        let whole = duration(step_s * run.pace.total_steps as f64);
        line(
            "time",
            format!("about {whole} at {rate:.1} images/s, from {timed} updates; evaluations not counted"),
        );
    }
    let memory = peak_memory().map_or("unknown on this system".into(), |bytes| {
        format!("{:.0} MB at the peak so far, on the host", bytes as f64 / 1e6)
    });
    line("memory", memory);
    Ok(text)
}

/// The peak memory of the process in bytes, if known. Only Linux reports it.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    kib.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| 1024 * kib)
}
