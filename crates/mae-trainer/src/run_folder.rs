//! What a run's folder is known by, and what it may be mistaken for.

use std::fs;
use std::path::Path;

use crate::TrainerError;

/// The file of a run's resolved recipe.
pub(crate) const RECIPE: &str = "recipe.toml";
/// The folder of a run's checkpoints.
pub(crate) const CHECKPOINTS: &str = "checkpoints";

/// What a run trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Pretrain,
    Classify,
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
        Some("probe") => "a probe",
        Some(_) => "fine-tuning",
        None => "pre-training",
    };
    let wanted = match wanted {
        Kind::Pretrain if found != "pre-training" => "pre-training",
        Kind::Classify if found == "pre-training" => "fine-tuning or a probe",
        _ => return Ok(text),
    };
    Err(TrainerError::OtherRun { path: folder.into(), found, wanted })
}

/// What a path is that holds no run.
fn what_else(path: &Path) -> String {
    let run =
        |path: &Path| path.ancestors().skip(1).find(|above| above.join(RECIPE).is_file()).map(Path::to_owned);
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.into());
    match (path.exists(), run(&absolute)) {
        (false, _) => "there is nothing of that name".into(),
        (true, Some(run)) => format!("it is a part of the run in {}", run.display()),
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
        assert!(read_recipe(&at("probe"), Kind::Classify).is_ok());
        for (path, kind, words) in [
            (at("run"), Kind::Classify, "holds a run of pre-training, not of fine-tuning or a probe"),
            (at("probe"), Kind::Pretrain, "holds a run of a probe, not of pre-training"),
            (at("none"), Kind::Pretrain, "nothing of that name"),
            (at("images"), Kind::Pretrain, "it has no recipe.toml"),
            (at("run").join(RECIPE), Kind::Pretrain, "it is a part of the run in"),
            (at("run/checkpoints/step-1"), Kind::Pretrain, "it is a part of the run in"),
        ] {
            let error = refused(&path, kind);
            assert!(error.contains(words) && error.contains(&path.display().to_string()), "{error}");
        }
    }
}
