//! Assigns classes to images from the rows of a table.

use std::collections::{BTreeSet, HashMap};

use super::rows::Row;

/// The classes of the images of a data set, by image index.
#[derive(Clone, Debug)]
pub(crate) enum Labels {
    /// One class per labelled image.
    One(Vec<Option<u32>>),
    /// Any number of classes per labelled image, in ascending order.
    Several(Vec<Option<Box<[u32]>>>),
}

impl Labels {
    /// The only class of an image; `None` if the set is multi-label.
    pub(crate) fn one(&self, index: usize) -> Option<u32> {
        match self {
            Self::One(labels) => labels.get(index).copied().flatten(),
            Self::Several(_) => None,
        }
    }

    /// All classes of an image; `None` if it has no label.
    pub(crate) fn all(&self, index: usize) -> Option<Vec<u32>> {
        match self {
            Self::One(_) => self.one(index).map(|label| vec![label]),
            Self::Several(labels) => labels.get(index)?.as_ref().map(|labels| labels.to_vec()),
        }
    }

    /// The same classes, renumbered: class `i` becomes `numbers[i]`.
    pub(crate) fn renumbered(&self, numbers: &[u32]) -> Self {
        let number = |label: u32| numbers[label as usize];
        match self {
            Self::One(labels) => Self::One(labels.iter().map(|label| label.map(number)).collect()),
            Self::Several(labels) => Self::Several(
                labels
                    .iter()
                    .map(|labels| {
                        let mut labels: Box<[u32]> = labels.as_ref()?.iter().copied().map(number).collect();
                        labels.sort_unstable();
                        Some(labels)
                    })
                    .collect(),
            ),
        }
    }

    /// The same classes as a multi-label set.
    pub(crate) fn multi_label(self) -> Self {
        match self {
            Self::One(labels) => {
                Self::Several(labels.into_iter().map(|label| Some([label?].into())).collect())
            }
            several => several,
        }
    }
}

/// Returns the classes of `len` images and the class names. Each row is paired with the index of its image. Rows
/// without classes are ignored.
pub(super) fn assign(
    named: &[(usize, &Row)],
    len: usize,
    lists: bool,
) -> Result<(Labels, Vec<String>), String> {
    let labelled =
        || named.iter().filter_map(|(index, row)| Some((*index, *row, row.classes.as_ref()?.as_slice())));
    let several = lists || labelled().any(|(_, _, classes)| classes.len() != 1);
    let mut found: Vec<Option<(u64, Vec<&str>)>> = vec![None; len];
    for (index, Row { line, image, .. }, classes) in labelled() {
        let classes = classes.iter().map(String::as_str);
        match &mut found[index] {
            Some((_, before)) if several => before.extend(classes),
            Some((before, other)) if !classes.clone().eq(other.iter().copied()) => {
                let (class, other) = (&classes.collect::<Vec<_>>()[0], &other[0]);
                return Err(format!(
                    "line {line}: {image} is {class}, but {other} in line {before}; an image has one class, unless \
                     the table has lists"
                ));
            }
            found => *found = Some((*line, classes.collect())),
        }
    }
    let classes = sorted(found.iter().flatten().flat_map(|(_, classes)| classes).copied());
    let labels: HashMap<&str, u32> = classes.iter().copied().zip(0..).collect();
    let all = found.iter().map(|found| {
        let (_, classes) = found.as_ref()?;
        let labels: BTreeSet<u32> = classes.iter().map(|class| labels[class]).collect();
        Some(labels.into_iter().collect::<Box<[u32]>>())
    });
    let labels = match several {
        true => Labels::Several(all.collect()),
        false => Labels::One(all.map(|labels| labels?.first().copied()).collect()),
    };
    Ok((labels, classes.iter().map(|class| (*class).to_owned()).collect()))
}

/// Sorts classes: numerically if all are integers, otherwise by their bytes.
pub(crate) fn sorted<'a>(classes: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut classes: Vec<&str> = classes.collect::<BTreeSet<_>>().into_iter().collect();
    if classes.iter().all(|class| class.parse::<i64>().is_ok()) {
        classes.sort_by_key(|class| class.parse::<i64>().unwrap_or_default());
    }
    classes
}
