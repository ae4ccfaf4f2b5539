//! What a run's folder is known by, and what it may be mistaken for.

use std::fs;
use std::path::{Path, PathBuf};

use crate::TrainerError;

/// The file of a run's resolved recipe.
pub(crate) const RECIPE: &str = "recipe.toml";
/// The folder of a run's checkpoints.
pub(crate) const CHECKPOINTS: &str = "checkpoints";

/// What a run trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Pretrain,
    Probe,
    Finetune,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Pretrain => "pre-training",
            Self::Probe => "probe",
            Self::Finetune => "fine-tuning",
        }
    }
}

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
/// [`TrainerError::NoRun`] for anything else than a run's folder, [`TrainerError::OtherRun`] for a run of another kind.
pub(crate) fn read_recipe(folder: &Path, wanted: Kind) -> Result<String, TrainerError> {
    let path = folder.join(RECIPE);
    if !path.is_file() {
        return Err(TrainerError::NoRun { path: folder.into(), reason: what_else(folder) });
    }
    let text = fs::read_to_string(&path).map_err(|source| TrainerError::Read { path, source })?;
    // A text that is no recipe at all is its reader's to refuse.
    let table: toml::Table = toml::from_str(&text).unwrap_or_default();
    let found = match table.get("method").and_then(toml::Value::as_str) {
        Some("probe") => Kind::Probe,
        Some(_) => Kind::Finetune,
        None => Kind::Pretrain,
    };
    if found != wanted {
        let (found, wanted) = (found.name(), wanted.name());
        return Err(TrainerError::OtherRun { path: folder.into(), found, wanted });
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
        let refused = |path: &Path, kind| read_recipe(path, kind).unwrap_err().to_string();
        for name in ["run/checkpoints/step-1", "probe", "images"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        fs::write(at("run").join(RECIPE), "epochs = 3\n").unwrap();
        fs::write(at("probe").join(RECIPE), "method = \"probe\"\n").unwrap();

        assert_eq!(read_recipe(&at("run"), Kind::Pretrain).unwrap(), "epochs = 3\n");
        assert!(read_recipe(&at("probe"), Kind::Probe).is_ok());
        for (path, kind, words) in [
            (at("run"), Kind::Finetune, "is a pre-training run, but a fine-tuning run is needed"),
            (at("probe"), Kind::Finetune, "is a probe run, but a fine-tuning run is needed"),
            (at("none"), Kind::Pretrain, "it does not exist"),
            (at("images"), Kind::Pretrain, "it has no recipe.toml"),
            (at("run").join(RECIPE), Kind::Pretrain, "it is inside the run"),
            (at("run/checkpoints/step-1"), Kind::Pretrain, "it is inside the run"),
        ] {
            let error = refused(&path, kind);
            assert!(error.contains(words) && error.contains(&path.display().to_string()), "{error}");
        }
    }
}
