//! Formats lists of names as text.

/// The number of classes, groups, files of a group or unreadable files that are listed before "and N more".
const SHOWN: usize = 10;

/// The first `SHOWN` of `items` as text, then "and N more" if there are others.
pub(crate) fn shown<T>(items: &[T], text: impl Fn(&T) -> String) -> impl Iterator<Item = String> {
    let more = items.len().saturating_sub(SHOWN);
    let more = (more > 0).then(|| format!("and {more} more"));
    items.iter().take(SHOWN).map(text).chain(more)
}

/// Makes a message one line, even if it quotes a file: control characters are escaped as in a Rust string.
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

/// The end of a message about an image for which no substitute could be read.
pub(crate) fn none_of(others: usize) -> String {
    match others {
        0 => String::new(),
        others => format!("; the {others} images drawn in its place cannot be read either"),
    }
}
