//! Agreement between ranks: checks that all are about to train the same run, and sends the main rank's state to all.

use std::path::Path;
use std::{fs, io};

use burn::store::RecordError;
use serde::{Deserialize, Serialize};

use super::Run;
use super::checkpoint::{CHECKPOINT_FILES, TrainState, load_checkpoint, name_of, save_checkpoint};
use crate::recipe::{Resume, changes};
use crate::{Recipe, Section, Task, TrainerError};

/// What all ranks must have in common.
#[derive(Serialize, Deserialize)]
struct Facts {
    version: String,
    /// The resolved recipe as TOML.
    recipe: String,
    /// The number of images and a checksum of their names and labels: of the training set, then of the held-out set.
    data: Vec<(usize, String)>,
}

impl<T: Task> Run<T> {
    /// Checks that all ranks are about to train the same run.
    ///
    /// # Errors
    /// [`TrainerError::RanksDiffer`] names the rank and what differs.
    pub(crate) fn agree(&self) -> Result<(), TrainerError> {
        if self.ranks().size() == 1 {
            return Ok(());
        }
        let data = self.contents().in_brief();
        let facts = Facts { version: env!("CARGO_PKG_VERSION").into(), recipe: self.recipe_text(), data };
        let json = serde_json::to_vec(&facts).expect("facts are text and numbers");
        for (rank, json) in self.ranks().gather(&json)?.into_iter().enumerate() {
            let differ = |what| Err(TrainerError::RanksDiffer { rank, what });
            let Ok(other) = serde_json::from_slice::<Facts>(&json) else {
                return differ("another version of this program".to_owned());
            };
            if other.version != facts.version {
                return differ(format!("version {}, not {}", other.version, facts.version));
            }
            let changes = changes(&other.recipe, &facts.recipe, &Recipe::<T::Recipe>::fields()).into_iter();
            let local = [Resume::Local, Resume::Images];
            let changes = changes.filter(|change| !local.contains(&change.resume));
            let changes: Vec<_> = changes.map(|change| change.between("there", "here")).collect();
            if !changes.is_empty() {
                return differ(format!("another recipe: {}", changes.join(", ")));
            }
            if other.data != facts.data {
                let counts: Vec<_> = other.data.iter().map(|(count, _)| count.to_string()).collect();
                return differ(format!("other images ({}), or under other names", counts.join(" and ")));
            }
        }
        Ok(())
    }

    /// Sends the main rank's state to every rank, as the files of a checkpoint.
    ///
    /// # Errors
    /// If the folder of temporary files cannot be written to or read from.
    pub(crate) fn share(&self, state: TrainState<T::Model>) -> Result<TrainState<T::Model>, TrainerError> {
        let ranks = self.ranks();
        if ranks.size() == 1 {
            return Ok(state);
        }
        fn write(path: &Path) -> impl FnOnce(io::Error) -> TrainerError {
            |source| TrainerError::Write { path: path.into(), source }
        }
        let folder = tempfile::tempdir().map_err(write(&std::env::temp_dir()))?;
        let path = folder.path().join(name_of(ranks.main_number(state.step)?));
        if ranks.is_main() {
            let normalize = &self.settings.data.normalize;
            save_checkpoint(folder.path(), &state, normalize, &self.metadata()?, 1, None)?;
        } else {
            fs::create_dir(&path).map_err(write(&path))?;
        }
        for name in CHECKPOINT_FILES {
            let file = path.join(name);
            // The moving average may be absent. The main rank has every file that exists.
            let there = ranks.main_number(u64::from(file.exists()))? == 1;
            let mut bytes = Vec::new();
            if there && ranks.is_main() {
                bytes =
                    fs::read(&file).map_err(|source| TrainerError::Read { path: file.clone(), source })?;
            }
            ranks.broadcast(&mut bytes)?;
            if there && !ranks.is_main() {
                fs::write(&file, bytes).map_err(write(&file))?;
            }
        }
        if ranks.is_main() {
            return Ok(state);
        }
        let state = load_checkpoint(&path, state)?;
        // Burn reads an optimizer's file lazily. Read it now, because the folder is about to be deleted.
        let refused =
            |reason: RecordError| TrainerError::Checkpoint { path: path.clone(), reason: reason.to_string() };
        let bytes = state.optimizer.into_bytes().map_err(&refused)?;
        let optimizer = state.optimizer.clone().from_bytes(bytes).map_err(&refused)?;
        Ok(TrainState { optimizer, ..state })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use mae_ranks::{Collective, Pending, RanksError};

    use crate::Pretrain;
    use burn::tensor::Tensor;

    /// The main rank of two. The other rank runs another build.
    struct Beside(fn(&mut serde_json::Value));

    impl Collective for Beside {
        fn rank(&self) -> usize {
            0
        }

        fn size(&self) -> usize {
            2
        }

        fn local_rank(&self) -> usize {
            0
        }

        fn mean(&self, _: Vec<Tensor<1>>) -> Result<Pending, RanksError> {
            unreachable!("nothing is trained")
        }

        fn broadcast(&self, _: &mut Vec<u8>) -> Result<(), RanksError> {
            Ok(())
        }

        fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, RanksError> {
            let mut other = serde_json::from_slice(bytes).unwrap();
            self.0(&mut other);
            Ok(vec![bytes.to_vec(), other.to_string().into_bytes()])
        }

        fn abort(&self) -> ! {
            unreachable!("a disagreement is an error")
        }
    }

    #[test]
    fn another_build_is_told_by_its_version_or_by_what_it_says() {
        let agree = |change| {
            let ranks: Arc<dyn Collective> = Arc::new(Beside(change));
            let folder = tempfile::tempdir().unwrap();
            Run::<Pretrain>::prepare_on(&ranks, &Recipe::default(), folder.path())
                .unwrap()
                .agree()
                .map_err(|e| e.to_string())
        };
        assert_eq!(agree(|_| ()), Ok(()));
        let error = agree(|other| other["version"] = "9.9.9".into()).unwrap_err();
        assert!(error.contains("rank 1 has version 9.9.9, not "), "{error}");
        let error = agree(|other| *other = "something else".into()).unwrap_err();
        assert!(error.contains("rank 1 has another version of this program"), "{error}");
    }
}
