//! File names as text: one line each, and different for different files.

use std::fmt::Write as _;
use std::path::Path;

/// A path as one line of text, from which the path can be recovered.
///
/// Text stays unchanged, except for characters that would break the line or cannot be shown. A control character or a
/// Unicode line separator is escaped as in a Rust string (`\n`, `\t`, `\u{85}`), a byte that is not UTF-8 as `\xE9`,
/// and a backslash as `\\`, except on Windows, where it separates folders.
///
/// ```
/// use mae_image::path_name;
///
/// assert_eq!(path_name("photos/é.jpg"), "photos/é.jpg");
/// assert_eq!(path_name("two\nlines.jpg"), r"two\nlines.jpg");
/// ```
#[must_use]
pub fn path_name(path: impl AsRef<Path>) -> String {
    byte_name(path.as_ref().as_os_str().as_encoded_bytes())
}

/// [`path_name`] for a name given as bytes, as in a tar file.
#[must_use]
pub fn byte_name(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' if cfg!(windows) => text.push(character),
                '\\' | '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
                    text.extend(character.escape_default());
                }
                _ => text.push(character),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_line_and_differ_where_files_do() {
        let names: [&[u8]; 9] = [
            b"plain.jpg",
            "h\u{e9}.jpg".as_bytes(),
            b"h\xe9.jpg",
            b"h\xe8.jpg",
            b"a\nb.jpg",
            b"a\\nb.jpg",
            b"a\r\n\tb",
            "a\u{2028}\u{85}b".as_bytes(),
            b"h\\xE9.jpg",
        ];
        let texts = names.map(byte_name);
        let expected = [
            "plain.jpg",
            "h\u{e9}.jpg",
            r"h\xE9.jpg",
            r"h\xE8.jpg",
            r"a\nb.jpg",
            r"a\\nb.jpg",
            r"a\r\n\tb",
            r"a\u{2028}\u{85}b",
            r"h\\xE9.jpg",
        ];
        if cfg!(not(windows)) {
            assert_eq!(texts, expected);
        }
    }
}
