//! The classes of label maps, and their values and colours in files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::class_file::{self, Class, ClassFile, Colour};
use super::known;
use super::label_map::IGNORE;
use crate::DataError;
use crate::name::one_line;

/// Marks a value without a meaning in the table of values.
const UNKNOWN: u16 = IGNORE - 1;

/// The classes of a data set, in order, and the mapping from the values in label images to classes.
///
/// The values of a label image are grey values, palette indices, or RGB colours. Each value or colour is mapped to a
/// class or ignored; several may map to the same class. A value or colour that is not in the map is an error when it is
/// found.
///
/// A class map can be a TOML or JSON file:
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("classes.toml");
/// # std::fs::write(&path, r##"
/// ignore = [255]
/// # [[class]]
/// # name = "road"
/// # value = 7
/// # colour = "#804080"
/// # [[class]]
/// # name = "car"
/// # value = [26, 27]
/// # colour = [[0, 0, 142], [0, 0, 70]]
/// # "##.replace("/// ", ""))?;
/// let classes = mae_data::ClassMap::load(&path)?;
/// assert_eq!(classes.classes(), ["road", "car"]);
/// assert_eq!(classes.of_value(27), Some(1));
/// assert_eq!(classes.of_colour([128, 64, 128]), Some(0));
/// assert_eq!(classes.of_value(255), Some(mae_data::IGNORE));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ClassFile", into = "ClassFile")]
pub struct ClassMap {
    names: Vec<String>,
    /// The label of each value, or [`UNKNOWN`]. Values past the end are unknown too.
    values: Vec<u16>,
    /// The label of each colour.
    colours: BTreeMap<Colour, u16>,
}

impl ClassMap {
    /// Reads a class map from a `.toml` or `.json` file.
    ///
    /// `ignore` lists ignored values and colours. Each `[[class]]` has a `name` and at least one `value` or `colour`,
    /// and both may be lists. A colour is `"#rrggbb"` or `[red, green, blue]`.
    ///
    /// # Errors
    /// [`DataError::ClassMap`] with the file and the problem.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, DataError> {
        let path = path.as_ref();
        class_file::read(path)
            .and_then(Self::try_from)
            .map_err(|reason| DataError::ClassMap { path: path.into(), reason: one_line(&reason) })
    }

    /// The names accepted by [`open`](Self::open).
    pub const NAMES: [&str; 2] = ["voc", "ade20k"];

    /// Returns the class map of a data set by its name, one of [`NAMES`](Self::NAMES), or reads it from a file.
    ///
    /// # Errors
    /// Those of [`load`](Self::load).
    pub fn open(name: impl AsRef<Path>) -> Result<Self, DataError> {
        match name.as_ref().to_str() {
            Some("voc") => Ok(Self::voc()),
            Some("ade20k") => Ok(Self::ade20k()),
            _ => Self::load(name),
        }
    }

    /// Creates classes with the values 0, 1, 2 and so on, in the order of the names.
    ///
    /// # Errors
    /// [`DataError::Argument`] for fewer than 2 or more than 65,534 classes, for an empty or repeated name, and for an
    /// ignored value that is also the value of a class.
    pub fn of_values(names: Vec<String>, ignore: &[u16]) -> Result<Self, DataError> {
        let classes = names.into_iter().enumerate().map(|(value, name)| {
            let value = u16::try_from(value).into_iter().collect();
            Class { name, values: value, colours: Vec::new() }
        });
        Self::build(classes.collect(), ignore, &[]).map_err(|reason| DataError::Argument {
            name: "class map",
            value: reason,
            bound: "2 to 65534 classes of different names and values".into(),
        })
    }

    /// Pascal VOC's 21 classes. Value 0 is the background; 255, the border of objects, is ignored. Masks may be the
    /// palette files of the distribution or RGB.
    #[must_use]
    pub fn voc() -> Self {
        let class = |(at, name): (usize, &&str)| Class {
            name: (*name).into(),
            values: vec![at as u16],
            colours: vec![known::label_colour(at)],
        };
        let classes = known::VOC.iter().enumerate().map(class).collect();
        Self::build(classes, &[255], &[known::label_colour(255)]).expect("a sound class map")
    }

    /// The 150 classes of ADE20K's SceneParsing release, with the values 1 to 150. Value 0, everything else, is
    /// ignored.
    #[must_use]
    pub fn ade20k() -> Self {
        let class = |(at, name): (usize, &&str)| Class {
            name: (*name).into(),
            values: vec![at as u16 + 1],
            colours: Vec::new(),
        };
        let classes = known::ADE20K.iter().enumerate().map(class).collect();
        Self::build(classes, &[0], &[]).expect("a sound class map")
    }

    /// The names of the classes, by label.
    #[must_use]
    pub fn classes(&self) -> &[String] {
        &self.names
    }

    /// The label of a value, or [`IGNORE`] if it is ignored; `None` if it is not in the map.
    #[inline]
    #[must_use]
    pub fn of_value(&self, value: u16) -> Option<u16> {
        self.values.get(usize::from(value)).copied().filter(|label| *label != UNKNOWN)
    }

    /// The label of a colour, or [`IGNORE`] if it is ignored; `None` if it is not in the map.
    #[must_use]
    pub fn of_colour(&self, colour: [u8; 3]) -> Option<u16> {
        self.colours.get(&colour).copied()
    }

    /// Whether any value is mapped to a class.
    #[must_use]
    pub fn has_values(&self) -> bool {
        self.values.iter().any(|label| *label < UNKNOWN)
    }

    /// Whether any colour is mapped to a class.
    #[must_use]
    pub fn has_colours(&self) -> bool {
        self.colours.values().any(|label| *label != IGNORE)
    }

    /// The values in the map with their labels, in ascending order.
    fn values(&self) -> impl Iterator<Item = (u16, u16)> {
        let all = (0..=u16::MAX).zip(&self.values).map(|(value, label)| (value, *label));
        all.filter(|(_, label)| *label != UNKNOWN)
    }

    /// Lists the values of the map for a message, or its colours if `colours` is set.
    pub(crate) fn known(&self, colours: bool) -> String {
        /// The maximum number of items listed.
        const LISTED: usize = 12;
        let mut all: Vec<String> = match colours {
            true => self.colours.keys().map(class_file::text).collect(),
            false => ranges(self.values().map(|(value, _)| value)),
        };
        if all.len() > LISTED {
            all.truncate(LISTED);
            all.push("…".into());
        }
        all.join(", ")
    }

    pub(super) fn build(
        classes: Vec<Class>,
        ignored_values: &[u16],
        ignored_colours: &[Colour],
    ) -> Result<Self, String> {
        if classes.len() < 2 || classes.len() > usize::from(UNKNOWN) {
            return Err(format!("it has {} class(es), but must have 2 to {UNKNOWN}", classes.len()));
        }
        let mut map = Self { names: Vec::new(), values: Vec::new(), colours: BTreeMap::new() };
        let mut seen = BTreeSet::new();
        for (label, class) in (0..).zip(&classes) {
            let name = &class.name;
            if name.trim().is_empty() {
                return Err(format!("class {label} (counted from 0) has an empty name"));
            }
            if !seen.insert(name) {
                return Err(format!("two classes are called \"{name}\"; list several values in one class"));
            }
            if class.values.is_empty() && class.colours.is_empty() {
                return Err(format!("the class \"{name}\" has neither a value nor a colour"));
            }
            class.values.iter().try_for_each(|value| map.put_value(*value, label, &classes))?;
            class.colours.iter().try_for_each(|colour| map.put_colour(*colour, label, &classes))?;
        }
        ignored_values.iter().try_for_each(|value| map.put_value(*value, IGNORE, &classes))?;
        ignored_colours.iter().try_for_each(|colour| map.put_colour(*colour, IGNORE, &classes))?;
        map.names = classes.into_iter().map(|class| class.name).collect();
        Ok(map)
    }

    fn put_value(&mut self, value: u16, label: u16, classes: &[Class]) -> Result<(), String> {
        let at = usize::from(value);
        if self.values.len() <= at {
            self.values.resize(at + 1, UNKNOWN);
        }
        match std::mem::replace(&mut self.values[at], label) {
            UNKNOWN => Ok(()),
            before => Err(twice(&value.to_string(), [before, label], classes)),
        }
    }

    fn put_colour(&mut self, colour: Colour, label: u16, classes: &[Class]) -> Result<(), String> {
        match self.colours.insert(colour, label) {
            None => Ok(()),
            Some(before) => Err(twice(&class_file::text(&colour), [before, label], classes)),
        }
    }
}

/// The message about a value or colour that occurs twice.
fn twice(what: &str, labels: [u16; 2], classes: &[Class]) -> String {
    let [first, second] = labels.map(|label| match classes.get(usize::from(label)) {
        Some(class) => format!("the class \"{}\"", class.name),
        None => "ignore".to_owned(),
    });
    format!("{what} occurs twice: in {first} and in {second}")
}

/// Formats numbers as text, with successive ones as ranges: `0 to 20`, `255`.
fn ranges(numbers: impl Iterator<Item = u16>) -> Vec<String> {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let text = |(first, last): (u16, u16)| match first == last {
        true => first.to_string(),
        false => format!("{first} to {last}"),
    };
    ranges.into_iter().map(text).collect()
}

impl From<ClassMap> for ClassFile {
    fn from(map: ClassMap) -> Self {
        let of = |wanted: u16| {
            let values = map.values().filter(|(_, label)| *label == wanted).map(|(value, _)| value);
            let colours =
                map.colours.iter().filter(|(_, label)| **label == wanted).map(|(colour, _)| *colour);
            (values.collect::<Vec<_>>(), colours.collect::<Vec<_>>())
        };
        let class = |(label, name): (u16, &String)| {
            let (values, colours) = of(label);
            Class { name: name.clone(), values, colours }
        };
        let classes = (0..).zip(&map.names).map(class).collect();
        let (values, colours) = of(IGNORE);
        ClassFile::new(classes, values, colours)
    }
}

impl TryFrom<ClassFile> for ClassMap {
    type Error = String;

    fn try_from(file: ClassFile) -> Result<Self, String> {
        let (classes, values, colours) = file.into_parts();
        Self::build(classes, &values, &colours)
    }
}
