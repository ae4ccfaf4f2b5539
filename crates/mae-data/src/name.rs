//! Lists of names as text.

/// Classes, groups, files of a group and unreadable files that are listed before "and N more".
const SHOWN: usize = 10;

/// The first few of `items` as text, and how many more there are.
pub(crate) fn shown<T>(items: &[T], text: impl Fn(&T) -> String) -> impl Iterator<Item = String> {
    let more = items.len().saturating_sub(SHOWN);
    let more = (more > 0).then(|| format!("and {more} more"));
    items.iter().take(SHOWN).map(text).chain(more)
}

/// A message as one line, though it quotes a file: control characters are written as in a string of Rust.
pub(crate) fn one_line(message: &str) -> String {
    let mut line = String::with_capacity(message.len());
    for character in message.chars() {
        match character {
            '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
                line.extend(character.escape_default());
            }
            _ => line.push(character),
        }
    }
    line
}

/// What is said of images that could not take the place of another.
pub(crate) fn none_of(others: usize) -> String {
    match others {
        0 => String::new(),
        others => format!("; the {others} images drawn in its place cannot be read either"),
    }
}
