//! Finds the classes of label images without a class map: every value that occurs is a class.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::class_file::Class;
use super::class_map::ClassMap;
use super::read::{decode, is_grey, whole};
use crate::{AnyImage, DataError, DecodeLimits, path_name};

/// The maximum number of classes without a class map. Ours: more are seldom classes, but rather the values of a
/// photograph or a measurement.
const MOST: usize = 256;

/// The largest 8-bit value, with which most data sets mark ignored pixels.
const VOID: u16 = 255;

/// Reads all label images and makes each value that occurs a class, named by its value, in ascending order. 255 is
/// ignored, unless the only other value is 0.
pub(super) fn discover(root: &Path, paths: &[PathBuf], limits: &DecodeLimits) -> Result<ClassMap, DataError> {
    let refused = |reason: String| DataError::LabelMaps { path: root.into(), reason };
    let (mut values, mut colours) = (BTreeSet::<u16>::new(), BTreeSet::<[u8; 3]>::new());
    for relative in paths {
        let path = root.join(relative);
        let no_value = |number: f32| DataError::LabelMap {
            path: path.clone(),
            reason: format!("{number} is not a label: labels are whole numbers from 0 to 65535"),
        };
        match decode(&path, limits)? {
            AnyImage::U8(image) if image.channels() == 3 => colours.extend(image.data().as_chunks::<3>().0),
            AnyImage::U8(image) => values.extend(image.data().iter().map(|value| u16::from(*value))),
            AnyImage::U16(image) => values.extend(image.data()),
            AnyImage::F32(image) => {
                for number in image.data().iter().filter(|number| !number.is_nan()) {
                    values.insert(whole(*number).ok_or_else(|| no_value(*number))?);
                }
            }
        }
        let found = values.len() + colours.len();
        if found > MOST {
            return Err(refused(format!(
                "without a class map, every value is a class: {found} occur up to the file {}, but at most {MOST} are supported",
                path_name(relative)
            )));
        }
    }
    if colours.iter().all(is_grey) {
        values.extend(std::mem::take(&mut colours).into_iter().map(|[grey, _, _]| u16::from(grey)));
    }
    if !values.is_empty() && !colours.is_empty() {
        return Err(refused("some label maps have numbers and some RGB colours: give a class map".into()));
    }
    let binary = values.iter().copied().eq([0, VOID]);
    let ignore: &[u16] = if !binary && values.remove(&VOID) { &[VOID] } else { &[] };
    let of_values = values.iter().map(|value| Class {
        name: value.to_string(),
        values: vec![*value],
        colours: Vec::new(),
    });
    let of_colours = colours.iter().map(|[red, green, blue]| Class {
        name: format!("#{red:02x}{green:02x}{blue:02x}"),
        values: Vec::new(),
        colours: vec![[*red, *green, *blue]],
    });
    ClassMap::build(of_values.chain(of_colours).collect(), ignore, &[]).map_err(|reason| {
        refused(format!("no class map was given, and the values found do not form one: {reason}"))
    })
}
