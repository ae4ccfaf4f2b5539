//! Sections of a recipe. Each is declared once, with the fields that may be left open and those that may change on
//! resume.

use std::any::Any;
use std::fmt::{self, Debug};
use std::path::PathBuf;

use serde::Serialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};

use crate::TrainerError;

/// Whether a field may change when a run is resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// No: weights, the order of the images or the position in the schedule depend on it.
    Fixed,
    /// Yes.
    Free,
    /// Together with other `Batch` fields, if an update keeps its number of images.
    Batch,
    /// Yes, and each rank may have its own value.
    Local,
    /// If the new path contains the same images. Each rank may have its own value.
    Images,
}

/// A field of a section.
#[derive(Clone, Debug)]
pub struct Field {
    /// Its name in TOML.
    pub name: &'static str,
    /// Whether it may change on resume.
    pub resume: Resume,
    /// Its own fields, if it is a section.
    pub fields: Vec<Self>,
}

/// A table of a recipe. [`section!`](crate::section) declares one, [`sections!`](crate::sections) a group of them.
///
/// A section has two types. In the requested one, a field that follows from others may be left open. In the resolved
/// one, every field has its value.
pub trait Section: Clone + Debug + Default + PartialEq + Serialize + Send + Sync + 'static {
    /// The resolved type.
    type Settings: Clone + Debug + PartialEq + Serialize + Send + Sync + 'static;

    /// Its fields, in order.
    fn fields() -> Vec<Field>;

    /// Reads the value of the field `key` into the section. Returns false if there is no such field.
    ///
    /// # Errors
    /// If the value is not of the field's type.
    fn read<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error>;

    /// Calls `visit` for every path, with its name below `prefix` and a reference to its value.
    ///
    /// # Errors
    /// The first error that `visit` returns.
    fn visit_paths(
        &mut self,
        prefix: &str,
        visit: &mut dyn FnMut(&str, &mut PathBuf) -> Result<(), TrainerError>,
    ) -> Result<(), TrainerError>;

    /// Resolves the section.
    ///
    /// # Panics
    /// If a field is still open.
    fn settle(self) -> Self::Settings;
}

/// Whether the field at `path`, such as `optim.base_lr`, may change on resume.
pub(crate) fn resume(path: &str, fields: &[Field]) -> Resume {
    let (name, rest) = path.split_once('.').unwrap_or((path, ""));
    let field = fields.iter().find(|field| field.name == name);
    match field {
        Some(field) if !field.fields.is_empty() && !rest.is_empty() => resume(rest, &field.fields),
        Some(field) => field.resume,
        // Not a field of this version: its value is no longer used.
        None => Resume::Free,
    }
}

/// Reads a table into a section that has values already.
pub(crate) struct Onto<'a, S>(pub &'a mut S);

impl<'de, S: Section> DeserializeSeed<'de> for Onto<'_, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, S: Section> Visitor<'de> for Onto<'_, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let fields = S::fields();
        while let Some(key) = map.next_key_seed(Key(&fields))? {
            self.0.read(&key, &mut map)?;
        }
        Ok(())
    }
}

/// The name of a field. An unknown name is refused with its position in the file.
struct Key<'a>(&'a [Field]);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<String, E> {
        if self.0.iter().any(|field| field.name == name) {
            return Ok(name.to_owned());
        }
        let known: Vec<_> = self.0.iter().map(|field| format!("`{}`", field.name)).collect();
        Err(E::custom(format_args!("unknown field `{name}`, expected one of {}", known.join(", "))))
    }
}

/// Reads a table into the section of that name.
///
/// # Errors
/// If the section has no such field, or a value is not of the field's type.
#[doc(hidden)]
pub fn read_section<'de, S: Section, A: MapAccess<'de>>(
    section: &mut S,
    map: &mut A,
) -> Result<(), A::Error> {
    map.next_value_seed(Onto(section))
}

/// Calls `visit` if a field's value is a path.
///
/// # Errors
/// The error that `visit` returns.
#[doc(hidden)]
pub fn visit_path(
    name: &str,
    value: &mut dyn Any,
    visit: &mut dyn FnMut(&str, &mut PathBuf) -> Result<(), TrainerError>,
) -> Result<(), TrainerError> {
    if let Some(path) = value.downcast_mut::<PathBuf>() {
        return visit(name, path);
    }
    match value.downcast_mut::<Option<PathBuf>>() {
        Some(Some(path)) => visit(name, path),
        _ => Ok(()),
    }
}

/// Declares a [`Section`]: for each field, whether it may change when a run is resumed, its name and its type.
///
/// `= value` gives the field a default. Without it, the field may be left open and is filled in when the recipe is
/// resolved: it is an `Option` in the first type and has its value in the second.
///
/// ```
/// mae_trainer::section! {
///     /// Where labels are.
///     pub LabelsRecipe => LabelsSettings {
///         /// The file.
///         Fixed path: std::path::PathBuf = "labels.csv".into();
///         /// Its column.
///         Fixed column: usize;
///     }
/// }
/// let asked = LabelsRecipe { column: Some(1), ..LabelsRecipe::default() };
/// let settled: LabelsSettings = mae_trainer::Section::settle(asked);
/// assert_eq!(settled.column, 1);
/// ```
#[macro_export]
macro_rules! section {
    (
        $(#[$about:meta])*
        pub $recipe:ident => $settings:ident {
            $( $(#[$doc:meta])* $resume:ident $name:ident: $type:ty $(= $default:expr)?; )*
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $recipe {
            $( $(#[$doc])* pub $name: $crate::section!(@asked $type $(, $default)?), )*
        }

        #[doc = concat!("What a [`", stringify!($recipe), "`] is resolved to.")]
        #[derive(Clone, Debug, PartialEq)]
        pub struct $settings {
            $( $(#[$doc])* pub $name: $type, )*
        }

        $crate::section!(@serialize $recipe { $($name)* });
        $crate::section!(@serialize $settings { $($name)* });

        impl Default for $recipe {
            fn default() -> Self {
                Self { $( $name: $crate::section!(@default $($default)?), )* }
            }
        }

        impl $crate::Section for $recipe {
            type Settings = $settings;

            fn fields() -> Vec<$crate::Field> {
                vec![$( $crate::Field {
                    name: stringify!($name),
                    resume: $crate::Resume::$resume,
                    fields: Vec::new(),
                }, )*]
            }

            fn read<'de, A: $crate::serde::de::MapAccess<'de>>(
                &mut self,
                key: &str,
                map: &mut A,
            ) -> Result<bool, A::Error> {
                match key {
                    $( stringify!($name) => self.$name = map.next_value()?, )*
                    _ => return Ok(false),
                }
                Ok(true)
            }

            fn visit_paths(
                &mut self,
                prefix: &str,
                visit: &mut dyn FnMut(&str, &mut std::path::PathBuf) -> Result<(), $crate::TrainerError>,
            ) -> Result<(), $crate::TrainerError> {
                $( $crate::visit_path(&format!("{prefix}{}", stringify!($name)), &mut self.$name, visit)?; )*
                Ok(())
            }

            fn settle(self) -> $settings {
                $settings { $( $name: $crate::section!(@settle self.$name $(, $default)?), )* }
            }
        }
    };
    (@serialize $section:ident { $($name:ident)* }) => {
        impl $crate::serde::Serialize for $section {
            fn serialize<S: $crate::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use $crate::serde::ser::SerializeStruct as _;
                let mut table = serializer.serialize_struct(stringify!($section), [$(stringify!($name)),*].len())?;
                $( table.serialize_field(stringify!($name), &self.$name)?; )*
                table.end()
            }
        }
    };
    (@asked $type:ty, $default:expr) => { $type };
    (@asked $type:ty) => { Option<$type> };
    (@default $default:expr) => { $default };
    (@default) => { None };
    (@settle $self:ident.$name:ident, $default:expr) => { $self.$name };
    (@settle $self:ident.$name:ident) => {
        $self.$name.expect(concat!(stringify!($name), " is filled in when a recipe is resolved"))
    };
}

/// Declares a group of [`Section`]s: the task's own part of a recipe.
///
/// The fields of the group are the tables of a recipe; see [`TaskRecipe`](crate::TaskRecipe).
#[macro_export]
macro_rules! sections {
    (
        $(#[$about:meta])*
        pub $recipe:ident => $settings:ident {
            $( $(#[$doc:meta])* $name:ident: $section:ty, )*
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $recipe {
            $( $(#[$doc])* pub $name: $section, )*
        }

        #[doc = concat!("What a [`", stringify!($recipe), "`] is resolved to.")]
        #[derive(Clone, Debug, PartialEq)]
        pub struct $settings {
            $( $(#[$doc])* pub $name: <$section as $crate::Section>::Settings, )*
        }

        $crate::section!(@serialize $recipe { $($name)* });
        $crate::section!(@serialize $settings { $($name)* });

        impl $crate::Section for $recipe {
            type Settings = $settings;

            fn fields() -> Vec<$crate::Field> {
                vec![$( $crate::Field {
                    name: stringify!($name),
                    resume: $crate::Resume::Free,
                    fields: <$section as $crate::Section>::fields(),
                }, )*]
            }

            fn read<'de, A: $crate::serde::de::MapAccess<'de>>(
                &mut self,
                key: &str,
                map: &mut A,
            ) -> Result<bool, A::Error> {
                match key {
                    $( stringify!($name) => $crate::read_section(&mut self.$name, map)?, )*
                    _ => return Ok(false),
                }
                Ok(true)
            }

            fn visit_paths(
                &mut self,
                prefix: &str,
                visit: &mut dyn FnMut(&str, &mut std::path::PathBuf) -> Result<(), $crate::TrainerError>,
            ) -> Result<(), $crate::TrainerError> {
                $( $crate::Section::visit_paths(
                    &mut self.$name,
                    &format!("{prefix}{}.", stringify!($name)),
                    visit,
                )?; )*
                Ok(())
            }

            fn settle(self) -> $settings {
                $settings { $( $name: $crate::Section::settle(self.$name), )* }
            }
        }
    };
}
