//! What a run's folder is known by, and what it may be mistaken for.

use std::fs;
use std::path::{Path, PathBuf};

use crate::TrainerError;
use crate::recipe::TASK;

/// The file of a run's resolved recipe.
pub(crate) const RECIPE: &str = "recipe.toml";
/// The folder of a run's checkpoints.
pub(crate) const CHECKPOINTS: &str = "checkpoints";

/// A folder for a new run: the first of `runs/NAME-WHAT-1`, `runs/NAME-WHAT-2`, … that does not exist yet. NAME is that of
/// the folder of images, or `shapes` for the built-in ones.
pub fn new_folder(data: Option<&Path>, what: &str) -> PathBuf {
    // Also of `.`, and not of what a link leads to.
    let name =
        |path: &Path| Some(std::path::absolute(path).ok()?.file_name()?.to_string_lossy().into_owned());
    let name = data.map_or("shapes".into(), |path| name(path).unwrap_or_else(|| "images".into()));
    let mut paths = (1..).map(|n| Path::new("runs").join(format!("{name}-{what}-{n}")));
    paths.find(|path| !path.exists()).expect("there are more numbers than folders")
}

/// The text of the recipe in a run's folder.
///
/// # Errors
/// [`TrainerError::NoRun`] for anything else than a run's folder, [`TrainerError::OtherRun`] for a run of another task.
pub(super) fn read_recipe(folder: &Path, wanted: &'static str) -> Result<String, TrainerError> {
    let path = folder.join(RECIPE);
    if !path.is_file() {
        return Err(TrainerError::NoRun { path: folder.into(), reason: what_else(folder) });
    }
    let text = fs::read_to_string(&path).map_err(|source| TrainerError::Read { path, source })?;
    // A text that is no recipe at all is its reader's to refuse.
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

/// What a path is that holds no run.
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
