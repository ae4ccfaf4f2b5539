//! Keeps the results of a long benchmark in a file, so that the same command continues it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The finished results of a benchmark, by name.
pub struct Done {
    path: PathBuf,
    known: Known,
}

#[derive(Serialize, Deserialize)]
struct Known {
    /// The settings that all results depend on.
    settings: Value,
    results: BTreeMap<String, Value>,
}

impl Done {
    /// Reads the results of a folder, or makes the folder. Fails if the folder belongs to something else, or to other settings.
    pub fn open(folder: &Path, settings: Value) -> Result<Self> {
        let path = folder.join("results.json");
        if !folder.exists() {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
            let done = Self { path, known: Known { settings, results: BTreeMap::new() } };
            done.write()?;
            return Ok(done);
        }
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let known: Known =
            serde_json::from_slice(&text).with_context(|| format!("cannot read {}", path.display()))?;
        ensure!(
            known.settings == settings,
            "{} was started with {}, not with {settings}",
            folder.display(),
            known.settings
        );
        Ok(Self { path, known })
    }

    /// Returns the result of this name. If there is none yet, calls `make` and stores what it returns.
    pub fn result<T: Serialize + DeserializeOwned>(
        &mut self,
        name: &str,
        make: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        if let Some(known) = self.known.results.get(name) {
            return T::deserialize(known).with_context(|| format!("{}: {name}", self.path.display()));
        }
        let made = make()?;
        self.known.results.insert(name.to_owned(), serde_json::to_value(&made)?);
        self.write()?;
        Ok(made)
    }

    /// Replaces the file in one step: an interruption leaves the old one or the new one.
    fn write(&self) -> Result<()> {
        let new = self.path.with_extension("new");
        fs::write(&new, serde_json::to_string_pretty(&self.known)?)
            .and_then(|()| fs::rename(&new, &self.path))
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}
