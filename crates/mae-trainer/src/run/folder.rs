//! How a run's folder is named and recognised, and what a path is otherwise.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::TrainerError;
use crate::context::contents;
use crate::recipe::TASK;

/// The file of a run's resolved recipe.
pub(crate) const RECIPE: &str = "recipe.toml";
/// The folder of a run's checkpoints.
pub(crate) const CHECKPOINTS: &str = "checkpoints";

/// Folder names of a part of a data set. The data set's name is then that of a folder above.
const PARTS: [&str; 3] = ["train", "training", "JPEGImages"];

/// The folder name of the images of a part, above or below it.
const IMAGES: &str = "images";

/// The folder for a new run: the first of `runs/NAME-WHAT-1`, `runs/NAME-WHAT-2`, … that does not exist yet. NAME is
/// the name of the image folder, or `shapes` for the built-in images. If the folder is a part of a data set (`train`,
/// `train/images`, `images/training`, `JPEGImages`), NAME is that of the data set's folder. WHAT is left out if it
/// equals NAME.
pub fn new_folder(data: Option<&Path>, what: &str) -> PathBuf {
    let name = data.map_or("shapes".into(), |path| data_name(path).unwrap_or_else(|| "images".into()));
    let name = if name == what { name } else { format!("{name}-{what}") };
    let mut paths = (1..).map(|n| Path::new("runs").join(format!("{name}-{n}")));
    paths.find(|path| !path.exists()).expect("there are more numbers than folders")
}

fn data_name(path: &Path) -> Option<String> {
    // Made absolute so that `.` has a name too. Symbolic links are not followed.
    let path = std::path::absolute(path).ok()?;
    let part = |name: &&OsStr| PARTS.iter().any(|part| name.eq_ignore_ascii_case(part));
    let names: Vec<&OsStr> = path.ancestors().map_while(Path::file_name).collect();
    let parts = names.iter().take_while(|name| part(name) || name.eq_ignore_ascii_case(IMAGES)).count();
    let whole = names.get(parts).copied().filter(|_| names[..parts].iter().any(part));
    // Run folders must not begin with a dot.
    let whole = whole.filter(|name| !name.as_encoded_bytes().starts_with(b"."));
    Some(whole.or(path.file_name())?.to_string_lossy().into_owned())
}

/// Other files and folders that runs write.
const WRITTEN: [&str; 14] = [
    CHECKPOINTS,
    "pictures",
    "tensorboard",
    "metrics.jsonl",
    "evaluations.jsonl",
    "model.safetensors",
    "best.safetensors",
    "loss.png",
    "report.html",
    "scores.json",
    "confusion.png",
    "classes.png",
    "worst.png",
    "bad_files.log",
];

/// Checks that a folder holds no run yet, and nothing that a run would replace.
///
/// # Errors
/// [`TrainerError::RunExists`] or [`TrainerError::Occupied`] if it does.
pub(crate) fn check_free(folder: &Path) -> Result<(), TrainerError> {
    if folder.join(RECIPE).exists() {
        return Err(TrainerError::RunExists { path: folder.into() });
    }
    // A run that was killed while it was created may leave its summary of the images.
    let summary = fs::read(folder.join(contents::FILE));
    let foreign = summary.is_ok_and(|bytes| serde_json::from_slice::<contents::Contents>(&bytes).is_err());
    let written = WRITTEN.into_iter().find(|name| folder.join(name).exists());
    match foreign.then_some(contents::FILE).or(written) {
        Some(name) => Err(TrainerError::Occupied { path: folder.into(), name }),
        None => Ok(()),
    }
}

/// Reads the text of the recipe in a run's folder.
///
/// # Errors
/// [`TrainerError::NoRun`] if the folder is not a run's, [`TrainerError::OtherRun`] if the run is of another task.
pub(super) fn read_recipe(folder: &Path, wanted: &'static str) -> Result<String, TrainerError> {
    let path = folder.join(RECIPE);
    if !path.is_file() {
        return Err(TrainerError::NoRun { path: folder.into(), reason: what_else(folder) });
    }
    let text = fs::read_to_string(&path).map_err(|source| TrainerError::Read { path, source })?;
    // A text that is not a recipe at all is refused later, when it is parsed.
    let table: toml::Table = toml::from_str(&text).unwrap_or_default();
    match table.get(TASK).and_then(toml::Value::as_str) {
        Some(found) if found != wanted => {
            let found = found.to_owned();
            return Err(TrainerError::OtherRun { path: folder.into(), found, wanted });
        }
        _ => {}
    }
    Ok(text)
}

/// Describes a path that is not a run's folder.
fn what_else(path: &Path) -> String {
    let run =
        |path: &Path| path.ancestors().skip(1).find(|above| above.join(RECIPE).is_file()).map(Path::to_owned);
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.into());
    match (path.exists(), run(&absolute)) {
        (false, _) => "it does not exist".into(),
        (true, Some(run)) => format!("it is inside the run {}", run.display()),
        (true, None) if path.is_file() => "it is a file".into(),
        (true, None) => format!("it has no {RECIPE}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_named_after_its_data_set() {
        for (data, what, name) in [
            (None, "nano", "runs/shapes-nano-1"),
            (Some("photos"), "tiny", "runs/photos-tiny-1"),
            (Some("/data/digits/train"), "finetune-scratch", "runs/digits-finetune-scratch-1"),
            (Some("/data/digits/Training/"), "digits", "runs/digits-1"),
            (Some("/data/street/train/images"), "segment", "runs/street-segment-1"),
            (Some("/data/VOC2012/JPEGImages"), "segment", "runs/VOC2012-segment-1"),
            (Some("/train"), "probe", "runs/train-probe-1"),
            (Some("/data/ade/images/training"), "segment", "runs/ade-segment-1"),
            (Some("/data/images"), "tiny", "runs/images-tiny-1"),
            (Some("/images/train"), "probe", "runs/train-probe-1"),
            (Some("/data/.cache/train"), "probe", "runs/train-probe-1"),
            (Some("/data/photos/trains"), "probe", "runs/trains-probe-1"),
            (Some("/"), "probe", "runs/images-probe-1"),
        ] {
            assert_eq!(new_folder(data.map(Path::new), what), Path::new(name), "{data:?}");
        }
    }

    #[test]
    fn what_is_no_run_is_called_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let refused = |path: &Path, task| read_recipe(path, task).unwrap_err().to_string();
        for name in ["run/checkpoints/step-1", "probe", "images"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        fs::write(at("run").join(RECIPE), "task = \"pretrain\"\n").unwrap();
        fs::write(at("probe").join(RECIPE), "task = \"probe\"\n").unwrap();

        assert_eq!(read_recipe(&at("run"), "pretrain").unwrap(), "task = \"pretrain\"\n");
        assert!(read_recipe(&at("probe"), "probe").is_ok());
        for (path, task, words) in [
            (at("run"), "finetune", "is a pretrain run, but a finetune run is needed"),
            (at("probe"), "finetune", "is a probe run, but a finetune run is needed"),
            (at("none"), "pretrain", "it does not exist"),
            (at("images"), "pretrain", "it has no recipe.toml"),
            (at("run").join(RECIPE), "pretrain", "it is inside the run"),
            (at("run/checkpoints/step-1"), "pretrain", "it is inside the run"),
        ] {
            let error = refused(&path, task);
            assert!(error.contains(words) && error.contains(&path.display().to_string()), "{error}");
        }
    }
}
