//! Checkpoints: folders that hold a whole training state, complete or absent.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use burn::optim::ModuleOptimizer;
use mae_model::SavedModel;
use mae_vit::Normalize;
use serde::{Deserialize, Serialize};

use crate::TrainerError;
use crate::training::Ema;
use mae_report::{make_folder, write_atomic};

/// The state of training: the model, its optimizer, and how far they have come.
#[derive(Clone)]
pub struct TrainState<M> {
    /// The model.
    pub model: M,
    /// Its optimizer.
    pub optimizer: ModuleOptimizer,
    /// The moving average of the model's weights, if the recipe has one.
    pub ema: Option<Ema<M>>,
    /// Updates done.
    pub step: u64,
    /// Seconds of training so far.
    pub elapsed_s: f64,
    /// Updates, counted from 0, that are skipped because their loss or gradient was not finite.
    pub skipped: Vec<u64>,
}

impl<M: SavedModel> TrainState<M> {
    /// The weights to use: the moving average if there is one.
    pub fn averaged(&self) -> &M {
        self.ema.as_ref().map_or(&self.model, |ema| &ema.model)
    }

    /// Replaces the weights by those of a file. A moving average restarts from them.
    ///
    /// # Errors
    /// If the file's weights do not fit.
    pub fn with_weights(self, path: impl AsRef<Path>) -> Result<Self, TrainerError> {
        let path = path.as_ref();
        let model = mae_model::load_into(self.model, path)?;
        let ema = self.ema.map(|ema| ema.restart(&model));
        Ok(Self { model, ema, ..self })
    }
}

const MODEL: &str = "model.safetensors";
const EMA: &str = "ema.safetensors";
const OPTIMIZER: &str = "optimizer.bpk";
const STATE: &str = "state.json";

/// All files of a checkpoint. The moving average may be absent.
pub(crate) const CHECKPOINT_FILES: [&str; 4] = [MODEL, EMA, OPTIMIZER, STATE];

/// `state.json`: the scalars, the fingerprints of the other files, and its own checksum.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StateFile {
    state: Scalars,
    /// The checksum of `state` as compact JSON.
    crc32: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scalars {
    step: u64,
    elapsed_s: f64,
    skipped: Vec<u64>,
    files: BTreeMap<String, Fingerprint>,
}

impl Scalars {
    fn crc32(&self) -> u32 {
        crc32fast::hash(&serde_json::to_vec(self).expect("numbers and strings are JSON"))
    }
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fingerprint {
    bytes: u64,
    crc32: u32,
}

/// Writes a checkpoint into `folder` and deletes all but the newest `keep`.
///
/// The files are written to a temporary folder, which is then renamed: a checkpoint is complete or absent. The
/// checkpoint of the step `best` is kept too. Checkpoints of later steps are deleted: the run went back to before them,
/// and its history continues from here.
///
/// # Errors
/// If something cannot be written; earlier checkpoints remain.
pub fn save_checkpoint<M: SavedModel>(
    folder: impl AsRef<Path>,
    state: &TrainState<M>,
    normalize: &Normalize,
    metadata: &BTreeMap<String, String>,
    keep: usize,
    best: Option<u64>,
) -> Result<PathBuf, TrainerError> {
    let folder = folder.as_ref();
    let path = folder.join(name_of(state.step));
    let write = |path: &Path| {
        let path = path.to_owned();
        move |source| TrainerError::Write { path, source }
    };
    make_folder(folder)?;
    remove_unfinished(folder).map_err(write(folder))?;
    let temporary = unfinished().tempdir_in(folder).map_err(write(folder))?;
    let inside = |name: &str| temporary.path().join(name);

    mae_model::save(&state.model, normalize, metadata, inside(MODEL))?;
    if let Some(ema) = &state.ema {
        mae_model::save(&ema.model, normalize, metadata, inside(EMA))?;
    }
    state.optimizer.save(inside(OPTIMIZER)).map_err(|e| TrainerError::Write {
        path: path.join(OPTIMIZER),
        source: io::Error::other(e.to_string()),
    })?;
    let mut files = BTreeMap::new();
    let names = [MODEL, OPTIMIZER].into_iter().chain(state.ema.is_some().then_some(EMA));
    for name in names {
        let fingerprint = sync(&inside(name)).and_then(|()| fingerprint(&inside(name)));
        files.insert(name.to_owned(), fingerprint.map_err(write(&path.join(name)))?);
    }
    let TrainState { step, elapsed_s, ref skipped, .. } = *state;
    let scalars = Scalars { step, elapsed_s, skipped: skipped.clone(), files };
    let json = StateFile { crc32: scalars.crc32(), state: scalars };
    write_atomic(inside(STATE), |file| Ok(serde_json::to_writer_pretty(file, &json)?))?;

    // A checkpoint of the same step has the same contents: it was written by the run that is resumed. It is removed
    // after the new one is in its place, so that a kill leaves no half-removed checkpoint.
    let mut replaced = None;
    if path.exists() {
        let aside = unfinished().tempdir_in(folder).map_err(write(folder))?;
        fs::rename(&path, aside.path().join("replaced")).map_err(write(&path))?;
        replaced = Some(aside);
    }
    let renamed = fs::rename(temporary.keep(), &path);
    if let (Err(_), Some(aside)) = (&renamed, &replaced) {
        // The old one goes back, so that a failure loses nothing. If that fails too, the first error counts.
        let _ = fs::rename(aside.path().join("replaced"), &path);
    }
    renamed.map_err(write(&path))?;
    sync_folder(folder).map_err(write(folder))?;
    drop(replaced);
    let (later, mut older): (Vec<_>, Vec<_>) =
        list_checkpoints(folder)?.into_iter().partition(|other| *other > path);
    older.truncate(older.len().saturating_sub(keep.max(1)));
    older.retain(|old| best.is_none_or(|best| old.file_name() != Some(name_of(best).as_ref())));
    for old in later.iter().chain(&older) {
        fs::remove_dir_all(old).map_err(write(old))?;
    }
    Ok(path)
}

/// Restores a checkpoint into a state of the same shape. If the checkpoint has no moving average, the average starts
/// from the weights.
///
/// # Errors
/// If a file is missing, was changed or truncated, or belongs to another model; names the file.
pub fn load_checkpoint<M: SavedModel>(
    path: impl AsRef<Path>,
    fresh: TrainState<M>,
) -> Result<TrainState<M>, TrainerError> {
    let path = path.as_ref();
    let state = path.join(STATE);
    let text =
        fs::read_to_string(&state).map_err(|source| TrainerError::Read { path: state.clone(), source })?;
    let refused = |reason| TrainerError::Checkpoint { path: state.clone(), reason };
    let StateFile { state: file, crc32 } = serde_json::from_str(&text)
        .map_err(|e| refused(format!("it is not the description of a checkpoint: {e}")))?;
    if file.crc32() != crc32 {
        return Err(refused(format!("its checksum is {:08x}, but {crc32:08x} was written", file.crc32())));
    }
    if path.file_name() != Some(name_of(file.step).as_ref()) {
        return Err(refused(format!("it belongs to step {}", file.step)));
    }
    for (name, expected) in &file.files {
        let path = path.join(name);
        let found = fingerprint(&path).map_err(|source| TrainerError::Read { path: path.clone(), source })?;
        if found.bytes != expected.bytes {
            let reason = format!("it has {} bytes, but {} were written", found.bytes, expected.bytes);
            return Err(TrainerError::Checkpoint { path, reason });
        }
        if found.crc32 != expected.crc32 {
            let reason =
                format!("its checksum is {:08x}, but {:08x} was written", found.crc32, expected.crc32);
            return Err(TrainerError::Checkpoint { path, reason });
        }
    }
    let mut state = fresh.with_weights(path.join(MODEL))?;
    if let Some(ema) = state.ema.as_mut().filter(|_| file.files.contains_key(EMA)) {
        ema.model = mae_model::load_into(ema.model.clone(), path.join(EMA))?;
    }
    let optimizer = state
        .optimizer
        .load(path.join(OPTIMIZER))
        .map_err(|e| TrainerError::Checkpoint { path: path.join(OPTIMIZER), reason: e.to_string() })?;
    let Scalars { step, elapsed_s, skipped, .. } = file;
    Ok(TrainState { optimizer, step, elapsed_s, skipped, ..state })
}

/// The weight file of a checkpoint to use: the moving average if there is one.
pub(super) fn averaged_weights(checkpoint: &Path) -> PathBuf {
    let average = checkpoint.join(EMA);
    if average.is_file() { average } else { checkpoint.join(MODEL) }
}

/// The prefix of a checkpoint's name.
const STEP: &str = "step-";

/// The name of a step's checkpoint.
pub(crate) fn name_of(step: u64) -> String {
    format!("{STEP}{step:09}")
}

/// The step of the newest checkpoint in `folder`, if there is one.
pub(crate) fn last_step(folder: &Path) -> Result<Option<u64>, TrainerError> {
    let step = |path: PathBuf| path.file_name()?.to_str()?.strip_prefix(STEP)?.parse().ok();
    Ok(list_checkpoints(folder)?.into_iter().filter_map(step).next_back())
}

/// Complete checkpoints in `folder`, the newest last.
///
/// # Errors
/// If the folder cannot be read.
pub fn list_checkpoints(folder: impl AsRef<Path>) -> Result<Vec<PathBuf>, TrainerError> {
    let folder = folder.as_ref();
    let read = |source| TrainerError::Read { path: folder.into(), source };
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(read)?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry.map_err(read)?;
        if entry.file_name().to_string_lossy().starts_with(STEP) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

fn fingerprint(path: &Path) -> io::Result<Fingerprint> {
    let mut file = fs::File::open(path)?;
    let (mut hasher, mut bytes, mut buffer) = (crc32fast::Hasher::new(), 0, vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            n => {
                hasher.update(&buffer[..n]);
                bytes += n as u64;
            }
        }
    }
    Ok(Fingerprint { bytes, crc32: hasher.finalize() })
}

/// The prefix of a checkpoint's name while it is being written.
const UNFINISHED: &str = ".writing-";

fn unfinished() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(UNFINISHED);
    // tempfile gives access only to the owner. A checkpoint should be as readable as any other folder, within the
    // umask.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
    builder
}

/// Removes the unfinished checkpoint of a process that died while writing it.
fn remove_unfinished(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn sync(file: &Path) -> io::Result<()> {
    fs::OpenOptions::new().append(true).open(file)?.sync_all()
}

/// Makes a rename survive a power failure, where folders can be synced.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { fs::File::open(folder)?.sync_all() } else { Ok(()) }
}
