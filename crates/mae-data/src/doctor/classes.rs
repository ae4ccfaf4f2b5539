//! Detects class names that suggest a mistake in the layout or the table.

use std::collections::HashSet;

use crate::{DataWarning, ImageSource};

/// Names of folders that hold a split of a data set, in any case.
const SPLITS: [&str; 9] =
    ["train", "training", "val", "valid", "validation", "test", "testing", "dev", "eval"];

/// Warns if all classes have names of splits.
fn parts_as_classes(names: &[String]) -> Option<DataWarning> {
    let part = |name: &String| SPLITS.iter().any(|part| name.eq_ignore_ascii_case(part));
    (names.len() > 1 && names.iter().all(part)).then(|| DataWarning::PartsAsClasses { names: names.to_vec() })
}

/// Separators that tables use between the classes of an image.
const SEPARATORS: [char; 4] = ['|', ';', ',', ' '];

/// Warns if a class is a list of other classes.
fn lists_as_classes(names: &[String]) -> Option<DataWarning> {
    let known: HashSet<&str> = names.iter().map(String::as_str).collect();
    let list = |name: &&String| {
        SEPARATORS.into_iter().find(|separator| {
            let mut parts = name.split(*separator).map(str::trim);
            name.contains(*separator) && parts.all(|part| known.contains(part))
        })
    };
    let (name, separator) = names.iter().find_map(|name| Some((name, list(&name)?)))?;
    Some(DataWarning::ListsAsClasses { name: name.clone(), separator })
}

/// Returns warnings about the class names of a data set.
pub(crate) fn warnings(source: &dyn ImageSource) -> impl Iterator<Item = DataWarning> {
    let names = source.class_names();
    parts_as_classes(names).into_iter().chain(lists_as_classes(names))
}
