//! Converts the values of a label image to labels.

use std::fmt;
use std::path::Path;

use mae_image::decode_labels;

use super::class_map::ClassMap;
use super::label_map::{IGNORE, LabelMap};
use crate::{AnyImage, DataError, DecodeLimits};

/// The content of a pixel of a label image.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) enum Value {
    /// A grey value, or a palette index.
    Number(f32),
    /// Red, green, blue.
    Colour([u8; 3]),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Colour([red, green, blue]) => write!(f, "#{red:02x}{green:02x}{blue:02x}"),
        }
    }
}

/// A pixel whose value is not in the class map.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stray {
    pub(crate) value: Value,
    /// Column and row, counted from 0.
    pub(crate) x: usize,
    pub(crate) y: usize,
}

/// Decodes a label image.
pub(crate) fn decode(path: &Path, limits: &DecodeLimits) -> Result<AnyImage, DataError> {
    decode_labels(path, limits)
        .map_err(|source| DataError::UnreadableMap { path: path.into(), source: Box::new(source) })
}

/// Whether a colour is a grey value, which some tools write as three equal channels.
pub(crate) fn is_grey([red, green, blue]: &[u8; 3]) -> bool {
    red == green && green == blue
}

/// Reads the label map of a file. An error names the first pixel whose value is not in the class map.
pub(crate) fn read(path: &Path, classes: &ClassMap, limits: &DecodeLimits) -> Result<LabelMap, DataError> {
    let image = decode(path, limits)?;
    let mut first = None;
    let map = classify(path, &image, classes, |stray| {
        first.get_or_insert(stray);
    })?;
    match first {
        None => Ok(map),
        Some(Stray { value, x, y }) => Err(DataError::MapValue {
            path: path.into(),
            value: value.to_string(),
            x,
            y,
            known: classes.known(matches!(value, Value::Colour(_))),
        }),
    }
}

/// Returns the labels of a decoded file. A value that is not in the class map becomes [`IGNORE`] and is passed to
/// `stray`.
///
/// NaN marks missing data in GeoTIFF files and is ignored.
pub(crate) fn classify(
    path: &Path,
    image: &AnyImage,
    classes: &ClassMap,
    mut stray: impl FnMut(Stray),
) -> Result<LabelMap, DataError> {
    let (height, width) = (image.height(), image.width());
    let mut labels = Vec::with_capacity(height * width);
    let mut put = |label: Option<u16>, value: Value| {
        let at = labels.len();
        labels.push(label.unwrap_or_else(|| {
            stray(Stray { value, x: at % width, y: at / width });
            IGNORE
        }));
    };
    let refused = |reason: &str| DataError::LabelMap { path: path.into(), reason: reason.into() };
    match image {
        AnyImage::U8(image) if image.channels() == 3 && !classes.has_colours() => {
            let colours = image.data().as_chunks().0;
            if !colours.iter().all(is_grey) {
                let reason = "it has RGB colours, but the class map has only values: give classes colours";
                return Err(refused(reason));
            }
            for [grey, _, _] in colours {
                put(classes.of_value(u16::from(*grey)), Value::Number(f32::from(*grey)));
            }
        }
        AnyImage::U8(image) if image.channels() == 3 => {
            // Neighbouring pixels mostly have the same colour.
            let mut last = None;
            for colour in image.data().as_chunks().0 {
                let label = match last {
                    Some((known, label)) if known == colour => label,
                    _ => classes.of_colour(*colour),
                };
                last = Some((colour, label));
                put(label, Value::Colour(*colour));
            }
        }
        _ if !classes.has_values() => {
            return Err(refused("it has numbers, but the class map has only colours: give classes values"));
        }
        AnyImage::U8(image) => {
            for number in image.data() {
                put(classes.of_value(u16::from(*number)), Value::Number(f32::from(*number)));
            }
        }
        AnyImage::U16(image) => {
            for number in image.data() {
                put(classes.of_value(*number), Value::Number(f32::from(*number)));
            }
        }
        AnyImage::F32(image) => {
            for number in image.data() {
                let label = match whole(*number) {
                    _ if number.is_nan() => Some(IGNORE),
                    Some(value) => classes.of_value(value),
                    None => None,
                };
                put(label, Value::Number(*number));
            }
        }
    }
    LabelMap::new(height, width, labels)
}

/// Converts a number to a value if it is a whole number from 0 to 65535.
pub(crate) fn whole(number: f32) -> Option<u16> {
    let value = number as u16;
    (f32::from(value) == number).then_some(value)
}
