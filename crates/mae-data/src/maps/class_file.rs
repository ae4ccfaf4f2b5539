//! Reads and writes class maps as TOML or JSON.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// A colour: red, green, blue.
pub(super) type Colour = [u8; 3];

/// A class with its values and colours.
pub(super) struct Class {
    pub(super) name: String,
    pub(super) values: Vec<u16>,
    pub(super) colours: Vec<Colour>,
}

/// The contents of a class map file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClassFile {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ignore: Vec<Ignored>,
    #[serde(rename = "class", alias = "classes")]
    classes: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<Values>,
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "color")]
    colour: Option<Colours>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "a value must be a whole number from 0 to 65535, or a list of them")]
enum Values {
    One(u16),
    Several(Vec<u16>),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "a colour must be \"#rrggbb\" or [red, green, blue], or a list of these")]
enum Colours {
    One(Written),
    Several(Vec<Written>),
}

#[derive(Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "an ignored entry must be a value from 0 to 65535, or a colour, \"#rrggbb\" or [red, green, blue]"
)]
enum Ignored {
    Value(u16),
    Colour(Written),
}

/// A colour in either of its forms in a file.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Text(Hex),
    Numbers(Colour),
}

/// A colour as `#rrggbb`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Hex(Colour);

impl TryFrom<String> for Hex {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6);
        let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let [_, red, green, blue] =
            number.ok_or_else(|| format!("\"{text}\" is not a colour #rrggbb"))?.to_be_bytes();
        Ok(Self([red, green, blue]))
    }
}

impl From<Hex> for String {
    fn from(Hex(colour): Hex) -> Self {
        text(&colour)
    }
}

impl Written {
    fn colour(&self) -> Colour {
        match self {
            Self::Text(Hex(colour)) | Self::Numbers(colour) => *colour,
        }
    }
}

/// Formats a colour as `#rrggbb`.
pub(super) fn text([red, green, blue]: &Colour) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

impl ClassFile {
    pub(super) fn new(classes: Vec<Class>, values: Vec<u16>, colours: Vec<Colour>) -> Self {
        let written = |colour| Written::Text(Hex(colour));
        let value = |mut values: Vec<u16>| match values.len() {
            0 => None,
            1 => values.pop().map(Values::One),
            _ => Some(Values::Several(values)),
        };
        let colour = |mut colours: Vec<Colour>| match colours.len() {
            0 => None,
            1 => colours.pop().map(written).map(Colours::One),
            _ => Some(Colours::Several(colours.into_iter().map(written).collect())),
        };
        let entry = |class: Class| Entry {
            name: class.name,
            value: value(class.values),
            colour: colour(class.colours),
        };
        let ignored = values.into_iter().map(Ignored::Value);
        Self {
            ignore: ignored
                .chain(colours.into_iter().map(|colour| Ignored::Colour(written(colour))))
                .collect(),
            classes: classes.into_iter().map(entry).collect(),
        }
    }

    /// The classes, and the ignored values and colours.
    pub(super) fn into_parts(self) -> (Vec<Class>, Vec<u16>, Vec<Colour>) {
        let class = |Entry { name, value, colour }| Class {
            name,
            values: match value {
                None => Vec::new(),
                Some(Values::One(value)) => vec![value],
                Some(Values::Several(values)) => values,
            },
            colours: match colour {
                None => Vec::new(),
                Some(Colours::One(colour)) => vec![colour.colour()],
                Some(Colours::Several(colours)) => colours.iter().map(Written::colour).collect(),
            },
        };
        let (mut values, mut colours) = (Vec::new(), Vec::new());
        for ignored in &self.ignore {
            match ignored {
                Ignored::Value(value) => values.push(*value),
                Ignored::Colour(colour) => colours.push(colour.colour()),
            }
        }
        (self.classes.into_iter().map(class).collect(), values, colours)
    }
}

/// Reads a file in the format given by its extension.
pub(super) fn read(path: &Path) -> Result<ClassFile, String> {
    let ending = path.extension().unwrap_or_default();
    let is = |known: &str| ending.eq_ignore_ascii_case(known);
    if !is("toml") && !is("json") {
        return Err("its name must end in .toml or .json".into());
    }
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    if is("json") {
        return serde_json::from_str(&text).map_err(|error| error.to_string());
    }
    toml::from_str(&text).map_err(|error| {
        let message = error.message().replace('\n', " ");
        match error.span().and_then(|span| text.get(..span.start)) {
            Some(before) => format!("line {}: {message}", before.matches('\n').count() + 1),
            None => message,
        }
    })
}
