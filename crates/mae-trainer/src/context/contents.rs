//! A summary of the images in a run's folders. A run is resumed with the images that it began with, wherever they are
//! now.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use mae_data::{ImageSource, images_exist};
use serde::{Deserialize, Serialize};

use crate::TrainerError;
use mae_report::write_atomic;

/// The file of the summary in a run's folder.
pub(crate) const FILE: &str = "data.json";

/// The number of images whose file sizes are recorded, spread evenly. Each is looked up when a run starts or resumes.
const SIZES: usize = 1024;

/// The maximum number of classes that a message names.
const NAMED: usize = 3;

/// A checksum wide enough to distinguish millions of names.
static CRC: crc::Crc<u64> = crc::Crc::<u64>::new(&crc::CRC_64_XZ);

/// A summary of the images of a run: the training set and the held-out set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contents {
    train: SetContents,
    val: Option<SetContents>,
}

/// A summary of a set of images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SetContents {
    images: usize,
    /// Checksum of all names relative to the set's folder, each with its labels, in order.
    order: String,
    /// By class name; images without a class are under the empty name.
    classes: BTreeMap<String, ClassContents>,
    /// Sizes in bytes of up to [`SIZES`] images, label maps included, if they are files.
    sizes: Vec<Option<u64>>,
    /// The pixel classes of images with label maps. Labels are indices into them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pixel_classes: Vec<String>,
}

/// A summary of the images of a class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClassContents {
    images: usize,
    /// Checksum of their names, in order.
    names: String,
}

/// A set of images, and the folder that was opened for it.
pub(crate) type Set<'a> = (&'a dyn ImageSource, Option<&'a Path>);

impl Contents {
    pub(crate) fn of(train: Set<'_>, val: Option<Set<'_>>) -> Self {
        Self { train: SetContents::of(train), val: val.map(SetContents::of) }
    }

    /// What ranks must have in common: the number of images in each set, and a checksum of their names and labels.
    pub(crate) fn in_brief(self) -> Vec<(usize, String)> {
        [self.train].into_iter().chain(self.val).map(|set| (set.images, set.order)).collect()
    }

    /// Writes the summary to a run's folder.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), TrainerError> {
        Ok(write_atomic(folder.join(FILE), |file| Ok(serde_json::to_writer(file, self)?))?)
    }

    /// Compares the images with those that a run began with. `images` is their number in the run's recipe.
    ///
    /// # Errors
    /// [`TrainerError::ImagesChanged`] if names, classes or order differ; [`TrainerError::DataChanged`] if the run has
    /// no summary and the number differs.
    pub(crate) fn compare(self, folder: &Path, images: Option<usize>) -> Result<Compared, TrainerError> {
        let path = folder.join(FILE);
        let before: Self = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|e| TrainerError::Checkpoint { path, reason: format!("it is damaged: {e}") })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let len = self.train.images;
                if let Some(images) = images.filter(|images| *images != len) {
                    return Err(TrainerError::DataChanged { images, len });
                }
                let line = format!(
                    "{FILE} is missing: cannot check whether the {len} images are the same as before"
                );
                return Ok(Compared { known: false, lines: vec![line], keep: Some(self) });
            }
            Err(source) => return Err(TrainerError::Read { path, source }),
        };
        let mut lines = Vec::new();
        let train = Some(("training", &before.train, &self.train));
        let val = before.val.as_ref().zip(self.val.as_ref()).map(|(before, now)| ("held-out", before, now));
        for (set, before, now) in train.into_iter().chain(val) {
            if let Some(changes) = before.changes(now) {
                return Err(TrainerError::ImagesChanged { set, changes });
            }
            let sizes = before.sizes.iter().zip(&now.sizes);
            let (of, other) = (now.sizes.len(), sizes.filter(|(before, now)| before != now).count());
            if other > 0 {
                lines.push(format!(
                    "{other} of {of} {set} images checked have another size in bytes than when the run began: training will \
                     not continue as it would have"
                ));
            }
        }
        // Held-out images may be added later.
        let keep = match (&before.val, self.val) {
            (None, Some(val)) => Some(Self { train: before.train, val: Some(val) }),
            _ => None,
        };
        Ok(Compared { known: true, lines, keep })
    }
}

/// The result of comparing a resumed run's images with those that it began with.
pub(crate) struct Compared {
    /// Whether the images are known to be the same.
    pub(crate) known: bool,
    lines: Vec<String>,
    keep: Option<Contents>,
}

impl Compared {
    /// Writes what the summary in the run's folder lacks, and returns messages, one per line.
    pub(crate) fn keep(self, folder: &Path) -> Result<Vec<String>, TrainerError> {
        self.keep.map_or(Ok(()), |contents| contents.write(folder))?;
        Ok(self.lines)
    }
}

/// Checks that the folders and tables of a resumed run exist. Each comes with the field of the recipe that names it.
///
/// # Errors
/// [`TrainerError::ImagesGone`] for the first that does not.
pub(crate) fn check_there(paths: [(&'static str, Option<&Path>); 4]) -> Result<(), TrainerError> {
    let there = |(_, path): &(_, Option<&Path>)| path.is_none_or(images_exist);
    match paths.into_iter().find(|path| !there(path)) {
        Some((field, Some(path))) => Err(TrainerError::ImagesGone { path: path.into(), field }),
        _ => Ok(()),
    }
}

impl SetContents {
    fn of((source, folder): Set<'_>) -> Self {
        // Names are relative to the folder, or to that of the table that names the images.
        let roots = folder.into_iter().flat_map(|path| [Some(path), path.parent()]).flatten();
        let roots: Vec<String> = roots.map(|root| root.display().to_string()).collect();
        let mut order = CRC.digest();
        let mut classes = BTreeMap::new();
        let names = source.class_names();
        for i in 0..source.len() {
            let name = source.name(i);
            let below = roots.iter().find_map(|root| name.strip_prefix(root.as_str()));
            let below = below.unwrap_or(&name).trim_start_matches(std::path::is_separator);
            let labels = source.labels(i).unwrap_or_else(|| vec![u32::MAX]);
            labels.iter().for_each(|label| order.update(&label.to_le_bytes()));
            order.update(below.as_bytes());
            order.update(&[0]);
            // A labelled image without a class is under the empty name too.
            let none = [u32::MAX];
            for &label in if labels.is_empty() { &none[..] } else { &labels[..] } {
                let class = names.get(label as usize).map_or("", String::as_str);
                let (images, digest) = match classes.get_mut(class) {
                    Some(known) => known,
                    None => classes.entry(class.to_owned()).or_insert_with(|| (0_usize, CRC.digest())),
                };
                *images += 1;
                digest.update(below.as_bytes());
                digest.update(&[0]);
            }
        }
        let looked_at = source.len().min(SIZES);
        let mut sizes: Vec<_> = (0..looked_at).map(|i| source.bytes(i * source.len() / looked_at)).collect();
        if sizes.iter().all(Option::is_none) {
            sizes.clear();
        }
        let text = |sum: u64| format!("{sum:016x}");
        let class = |(name, (images, digest)): (String, (usize, crc::Digest<'static, u64>))| {
            (name, ClassContents { images, names: text(digest.finalize()) })
        };
        Self {
            images: source.len(),
            order: text(order.finalize()),
            classes: classes.into_iter().map(class).collect(),
            sizes,
            pixel_classes: source.map_classes().to_vec(),
        }
    }

    /// Describes, for users, how names, classes or order differ.
    fn changes(&self, now: &Self) -> Option<String> {
        if self.pixel_classes != now.pixel_classes {
            let [before, now] = [self, now].map(|set| set.pixel_classes.join(", "));
            return Some(format!("their label maps had the classes {before}, and have {now} now"));
        }
        if (self.images, &self.order) == (now.images, &now.order) && self.classes == now.classes {
            return None;
        }
        let mut changes = Vec::new();
        let names: BTreeSet<_> = self.classes.keys().chain(now.classes.keys()).collect();
        for name in names {
            let class = if name.is_empty() { "no class".to_owned() } else { format!("class {name}") };
            match (self.classes.get(name), now.classes.get(name)) {
                (Some(before), Some(now)) if before == now => {}
                (Some(before), Some(now)) if before.images == now.images => {
                    changes.push(format!("the {} of {class} have other names", now.images));
                }
                (before, now) => {
                    let count = |set: Option<&ClassContents>| set.map_or(0, |set| set.images);
                    changes.push(format!("{} were of {class}, {} are now", count(before), count(now)));
                }
            }
        }
        if changes.is_empty() {
            return Some("their order differs".to_owned());
        }
        let more = changes.len().saturating_sub(NAMED);
        changes.truncate(NAMED);
        let more = if more > 0 { format!(", and {more} more classes differ") } else { String::new() };
        Some(changes.join(", ") + &more)
    }
}
