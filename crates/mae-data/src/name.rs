//! Lists of names as text.

/// Classes, groups, files of a group and unreadable files that are listed before "and N more".
const SHOWN: usize = 10;

/// The first few of `items` as text, and how many more there are.
pub(crate) fn shown<T>(items: &[T], text: impl Fn(&T) -> String) -> impl Iterator<Item = String> {
    let more = items.len().saturating_sub(SHOWN);
    let more = (more > 0).then(|| format!("and {more} more"));
    items.iter().take(SHOWN).map(text).chain(more)
}

/// What is said of images that could not take the place of another.
pub(crate) fn none_of(others: usize) -> String {
    match others {
        0 => String::new(),
        others => format!("; the {others} images drawn in its place cannot be read either"),
    }
}
