//! What a run's folders of images hold, in brief: a run goes on with the images that it began with, wherever they lie now.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use mae_data::{ImageSource, images_exist};
use serde::{Deserialize, Serialize};

use crate::TrainerError;
use mae_report::write_atomic;

/// Where it is kept in a run's folder.
pub(crate) const FILE: &str = "data.json";

/// Images whose sizes are kept, spread evenly: each of them is looked up when a run begins or goes on.
const SIZES: usize = 1024;

/// Classes that a message names.
const NAMED: usize = 3;

/// A checksum that tells millions of names apart.
static CRC: crc::Crc<u64> = crc::Crc::<u64>::new(&crc::CRC_64_XZ);

/// The images of a run: those that are trained on, and those that are held out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contents {
    train: SetContents,
    val: Option<SetContents>,
}

/// The images of a set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SetContents {
    images: usize,
    /// Checksum of all names below the set's folder, each with its label, in their order.
    order: String,
    /// By name; images without a class are under no name.
    classes: BTreeMap<String, ClassContents>,
    /// Bytes of up to [`SIZES`] images, with their label maps, where they are files.
    sizes: Vec<Option<u64>>,
    /// The classes of pixels, of images with label maps: labels are counted by them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pixel_classes: Vec<String>,
}

/// The images of a class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClassContents {
    images: usize,
    /// Checksum of their names, in their order.
    names: String,
}

/// A set of images, and the folder that was opened for it.
pub(crate) type Set<'a> = (&'a dyn ImageSource, Option<&'a Path>);

impl Contents {
    pub(crate) fn of(train: Set<'_>, val: Option<Set<'_>>) -> Self {
        Self { train: SetContents::of(train), val: val.map(SetContents::of) }
    }

    /// What ranks have in common: the number of images in each set, and a checksum of their names and labels.
    pub(crate) fn in_brief(self) -> Vec<(usize, String)> {
        [self.train].into_iter().chain(self.val).map(|set| (set.images, set.order)).collect()
    }

    /// Keeps it in a new run's folder.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), TrainerError> {
        Ok(write_atomic(folder.join(FILE), |file| Ok(serde_json::to_writer(file, self)?))?)
    }

    /// Compares with what a run began with, of which `images` is the number in its recipe.
    ///
    /// # Errors
    /// [`TrainerError::ImagesChanged`] if names, classes or order differ, [`TrainerError::DataChanged`] if the number does.
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
                let line =
                    format!("{FILE} is missing: whether the {len} images are those of before is not known");
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
                    "{other} of {of} {set} images looked at have another size in bytes than when the run began: what \
                     follows is not what it would have been"
                ));
            }
        }
        // Held-out images may come later.
        let keep = match (&before.val, self.val) {
            (None, Some(val)) => Some(Self { train: before.train, val: Some(val) }),
            _ => None,
        };
        Ok(Compared { known: true, lines, keep })
    }
}

/// The images of a run that goes on beside those that it began with.
pub(crate) struct Compared {
    /// Whether they are known to be the same.
    pub(crate) known: bool,
    lines: Vec<String>,
    keep: Option<Contents>,
}

impl Compared {
    /// Keeps what was not known of them in the run's folder; returns what there is to say, a line each.
    pub(crate) fn keep(self, folder: &Path) -> Result<Vec<String>, TrainerError> {
        self.keep.map_or(Ok(()), |contents| contents.write(folder))?;
        Ok(self.lines)
    }
}

/// Checks that the folders and tables of a run that goes on are there, each with the field of the recipe that names it.
///
/// # Errors
/// [`TrainerError::ImagesGone`] for the first that is not.
pub(crate) fn check_there(paths: [(&'static str, Option<&Path>); 4]) -> Result<(), TrainerError> {
    let there = |(_, path): &(_, Option<&Path>)| path.is_none_or(images_exist);
    match paths.into_iter().find(|path| !there(path)) {
        Some((field, Some(path))) => Err(TrainerError::ImagesGone { path: path.into(), field }),
        _ => Ok(()),
    }
}

impl SetContents {
    fn of((source, folder): Set<'_>) -> Self {
        // Below the folder, or beside the table that names the images.
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
            // A labelled image without a class is under no name, too.
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

    /// What differs in names, classes or order, for people.
    fn changes(&self, now: &Self) -> Option<String> {
        if self.pixel_classes != now.pixel_classes {
            let [before, now] = [self, now].map(|set| set.pixel_classes.join(", "));
            return Some(format!("their pixels had the classes {before}, and have {now} now"));
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
            return Some("they have another order".to_owned());
        }
        let more = changes.len().saturating_sub(NAMED);
        changes.truncate(NAMED);
        let more = if more > 0 { format!(", and {more} more classes differ") } else { String::new() };
        Some(changes.join(", ") + &more)
    }
}
