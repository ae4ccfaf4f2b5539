//! Pieces of HTML, with all external text escaped.

use serde::Serialize;

/// Escapes text for use between tags and in quoted attributes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            _ => escaped.push(character),
        }
    }
    escaped
}

/// Writes JSON for a script element: nothing in it ends the element or begins a comment.
pub(super) fn json(value: &impl Serialize) -> String {
    // JSON has these characters only in strings, where an escape means the same.
    let text = serde_json::to_string(value).expect("charts are numbers and strings");
    text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

/// Replaces every `{{name}}` of a template. The values are not searched again.
pub(super) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut pieces = template.split("{{");
    let mut filled = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (name, rest) = piece.split_once("}}").expect("a template closes what it opens");
        let value = values.iter().find(|(known, _)| *known == name);
        filled += value.unwrap_or_else(|| panic!("the template names {name}, which nothing fills")).1;
        filled += rest;
    }
    filled
}

/// A list of names and values.
pub(super) fn facts(rows: &[(&str, String)]) -> String {
    let row = |(name, value): &(&str, String)| {
        format!("<div><dt>{}</dt><dd>{}</dd></div>\n", escape(name), escape(value).replace('\n', "<br>"))
    };
    format!("<dl class=\"facts\">\n{}</dl>", rows.iter().map(row).collect::<String>())
}

/// A tile with a headline number.
pub(super) fn tile(name: &str, value: &str, note: &str) -> String {
    format!(
        "<div class=\"card\"><dt>{}</dt><dd>{}<small>{}</small></dd></div>\n",
        escape(name),
        escape(value),
        escape(note)
    )
}

/// Formats `1536` as `1,536`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Capitalises the first letter of a title.
pub(super) fn capital(title: &str) -> String {
    let mut letters = title.chars();
    match letters.next() {
        // Words such as kNN keep their first letter.
        Some(first) if !title[first.len_utf8()..].starts_with(char::is_uppercase) => {
            first.to_uppercase().chain(letters).collect()
        }
        _ => title.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_stays_text() {
        assert_eq!(escape(r#"<a b="c">&'"#), "&lt;a b=&quot;c&quot;&gt;&amp;&#39;");
        let text = "</script><!-- & é";
        let json = json(&text);
        assert!(!json.contains('<') && !json.contains('>'));
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        assert_eq!(fill("{{a}}-{{b}}{{a}}", &[("a", "{{b}}"), ("b", "2")]), "{{b}}-2{{b}}");
        assert_eq!(
            facts(&[("<", "a\nb".into())]),
            "<dl class=\"facts\">\n<div><dt>&lt;</dt><dd>a<br>b</dd></div>\n</dl>"
        );
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    }
}
