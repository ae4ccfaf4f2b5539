//! The report about an examined folder of images, as numbers and as lines of text.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Serialize;

use super::channels::{self, Channels};
use super::warning::{ClassCount, DataWarning};
use crate::name::shown;
use crate::{
    BadFile, ImageSource, PassedOver, PixelFormat, PixelStatistics, PixelType, TableRows, path_name,
};

/// The result of [`Doctor::examine`](crate::Doctor::examine).
///
/// `Display` is for people and shortens long lists; `Serialize` is complete.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DataReport {
    /// The folder or table.
    pub root: String,
    /// Number of files listed as images.
    pub files: usize,
    /// Number of files that could be decoded.
    pub readable: usize,
    /// The classes, by label, with their numbers of files, including unreadable ones.
    pub classes: Vec<ClassCount>,
    /// Whether an image may have several classes.
    pub multi_label: bool,
    /// Number of files without a class: those in the folder itself, or those that the table of classes does not name.
    pub unlabelled: usize,
    /// Row counts of the table of classes, if there is one.
    pub table_rows: Option<TableRows>,
    /// Files in the folder itself that may be tables of classes and were not read.
    pub unused_tables: Vec<String>,
    /// First-level sub-folders without images.
    pub empty_folders: Vec<String>,
    /// Files and folders that are not part of the data set, although a user may expect them to be.
    pub passed_over: PassedOver,
    /// The format to which the files are decoded.
    pub pixels: PixelFormat,
    /// Number of readable files by format, determined from the content, not the name.
    pub formats: BTreeMap<&'static str, usize>,
    /// Heights of the upright images in pixels; `None` if no image could be read.
    pub height_px: Option<Spread>,
    /// Widths of the upright images in pixels.
    pub width_px: Option<Spread>,
    /// Number of 8-bit RGB images whose channels are equal in every pixel.
    pub grey: usize,
    /// Number of images that are wider than high.
    pub landscape: usize,
    /// Number of images that are higher than wide.
    pub portrait: usize,
    /// The images that would have to be enlarged, if an image size was given.
    pub smaller: Option<Smaller>,
    /// Each channel's mean over its finite values, 0 if it has none. In this and the next three fields, bytes are
    /// divided by 255 and other values are in their own units; `None` if no image could be read.
    pub mean: Option<Vec<f64>>,
    /// Each channel's standard deviation, 0 if it has no finite value.
    pub std: Option<Vec<f64>>,
    /// Each channel's smallest value, infinite if it has no finite value (`null` in JSON).
    pub min: Option<Vec<f64>>,
    /// Each channel's largest value, likewise.
    pub max: Option<Vec<f64>>,
    /// Each channel's share of values that equal its maximum, 0 to 1.
    pub saturated: Option<Vec<f64>>,
    /// Number of NaNs and infinities, over all channels.
    pub missing: u64,
    /// The share of NaNs and infinities among all values, 0 to 1.
    pub missing_share: f64,
    /// Groups of images with equal pixels.
    pub duplicates: Vec<DuplicateGroup>,
    /// Files that cannot be read, with the reason.
    pub unreadable: Vec<BadFile>,
    /// Warnings about what to check before training.
    pub warnings: Vec<DataWarning>,
}

/// The distribution of a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Spread {
    /// The smallest value.
    pub min: u32,
    /// The median; the lower of the two middle values if their number is even.
    pub median: u32,
    /// The largest value.
    pub max: u32,
}

/// The images smaller than a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Smaller {
    /// The size, (height, width) in pixels.
    pub size: (usize, usize),
    /// Number of images with a smaller height or width.
    pub images: usize,
}

/// Images of the same size with the same decoded pixels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DuplicateGroup {
    /// Their paths below the root, in the order of the folder; at least two.
    pub files: Vec<String>,
    /// Whether they have different classes.
    pub across_classes: bool,
}

/// The data kept about each readable image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FoundImage {
    pub(crate) hash: u64,
    pub(crate) height: u32,
    pub(crate) width: u32,
    pub(crate) grey: bool,
}

impl DataReport {
    /// Creates a report without formats, duplicates, unreadable files, the fields that only folders have, and warnings.
    pub(crate) fn new(
        source: &dyn ImageSource,
        path: &Path,
        images: &[Option<FoundImage>],
        image_size: Option<(usize, usize)>,
        statistics: PixelStatistics,
    ) -> Self {
        let names = source.class_names().iter().cloned();
        let mut classes: Vec<_> = names.map(|name| ClassCount { name, files: 0 }).collect();
        let mut unlabelled = 0;
        for index in 0..source.len() {
            match source.labels(index) {
                Some(labels) => labels.iter().for_each(|label| classes[*label as usize].files += 1),
                None => unlabelled += 1,
            }
        }
        let readable = || images.iter().flatten();
        let smaller = image_size.map(|size| {
            let is_smaller =
                |image: &&FoundImage| (image.height as usize) < size.0 || (image.width as usize) < size.1;
            Smaller { size, images: readable().filter(is_smaller).count() }
        });
        let pixels = source.pixels();
        let channels = Channels::of(&statistics, pixels);
        let (mean, std, min, max) = match channels {
            Some(Channels { mean, std, min, max }) => (Some(mean), Some(std), Some(min), Some(max)),
            None => (None, None, None, None),
        };
        Self {
            root: path_name(path),
            files: source.len(),
            readable: readable().count(),
            classes,
            multi_label: source.is_multi_label(),
            unlabelled,
            table_rows: None,
            unused_tables: Vec::new(),
            empty_folders: Vec::new(),
            passed_over: source.passed_over().clone(),
            pixels,
            formats: BTreeMap::new(),
            height_px: Spread::of(readable().map(|image| image.height).collect()),
            width_px: Spread::of(readable().map(|image| image.width).collect()),
            grey: readable().filter(|image| image.grey).count(),
            landscape: readable().filter(|image| image.width > image.height).count(),
            portrait: readable().filter(|image| image.width < image.height).count(),
            smaller,
            mean,
            std,
            min,
            max,
            saturated: (statistics.images > 0).then(|| statistics.saturated()),
            missing: statistics.missing,
            missing_share: statistics.missing_share(),
            duplicates: Vec::new(),
            unreadable: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// The classes with the fewest and the most files. Among equals, it is the first by label.
    pub(crate) fn extremes(&self) -> Option<(&ClassCount, &ClassCount)> {
        let least = self.classes.iter().min_by_key(|class| class.files)?;
        // `max_by_key` returns the last of equal elements.
        let most = self.classes.iter().rev().max_by_key(|class| class.files)?;
        Some((least, most))
    }
}

impl Spread {
    fn of(mut values: Vec<u32>) -> Option<Self> {
        values.sort_unstable();
        let (&min, &max) = (values.first()?, values.last()?);
        Some(Self { min, median: values[(values.len() - 1) / 2], max })
    }
}

impl fmt::Display for DataReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, value: String| writeln!(f, "{name:<15} {value}");
        line("folder", self.root.clone())?;
        line("files", format!("{}, {} of them readable", self.files, self.readable))?;
        if let Some(TableRows { all, without_image }) = self.table_rows {
            line("table", format!("{all} rows, {} of which name an image here", all - without_image))?;
        }
        match self.extremes() {
            Some((least, most)) => {
                let (count, fewest, most) = (self.classes.len(), least.files, most.files);
                let several = if self.multi_label { "; a file may have several" } else { "" };
                line("classes", format!("{count}, of {} files each{several}", range(fewest, most)))?;
            }
            None => line("classes", "none: neither sub-folders nor a table give labels".into())?,
        }
        for class in shown(&self.classes, |class| format!("{}: {}", class.name, class.files)) {
            line("", class)?;
        }
        let formats: Vec<_> = self.formats.iter().map(|(name, files)| format!("{files} {name}")).collect();
        if !self.passed_over.is_empty() {
            line("skipped", self.passed_over.to_string())?;
        }
        line("formats", some_or_none(formats.join(", ")))?;
        match self.pixels {
            PixelFormat::Rgb8 => {}
            pixels if pixels.pixel_type() == PixelType::U8 => {
                line("pixels", format!("{pixels}; numbers below are divided by 255"))?;
            }
            pixels => line("pixels", pixels.to_string())?,
        }
        for (name, spread) in [("height", self.height_px), ("width", self.width_px)] {
            if let Some(Spread { min, median, max }) = spread {
                line(name, format!("{} px, median {median}", range(min, max)))?;
            }
        }
        let square = self.readable - self.landscape - self.portrait;
        line(
            "orientation",
            format!("{} landscape, {} portrait, {square} square", self.landscape, self.portrait),
        )?;
        if self.grey > 0 {
            line("grey", format!("{} of {} images", self.grey, self.readable))?;
        }
        if let Some(Smaller { size: (height, width), images }) = self.smaller {
            line("smaller", format!("{images} image(s) than {height}x{width} px"))?;
        }
        if let Self { mean: Some(mean), std: Some(std), min: Some(min), max: Some(max), .. } = self {
            if self.pixels == PixelFormat::Rgb8 {
                for (name, numbers) in [("mean", mean), ("std", std)] {
                    let numbers: Vec<_> = numbers.iter().map(|number| format!("{number:.4}")).collect();
                    line(name, format!("[{}]", numbers.join(", ")))?;
                }
            } else {
                let names = std::iter::once("channels").chain(std::iter::repeat(""));
                for (name, row) in names.zip(channels::table([mean, std, min, max])) {
                    line(name, row)?;
                }
            }
        }
        if self.missing > 0 {
            line("missing", format!("{} number(s) are not finite", self.missing))?;
        }
        line("duplicates", count(self.duplicates.len(), "group(s) of equal images"))?;
        for group in shown(&self.duplicates, |group| {
            shown(&group.files, String::clone).collect::<Vec<_>>().join(" = ")
        }) {
            line("", group)?;
        }
        line("unreadable", count(self.unreadable.len(), "file(s)"))?;
        for reason in shown(&self.unreadable, |file| file.reason.clone()) {
            line("", reason)?;
        }
        self.warnings.iter().try_for_each(|warning| line("warning", warning.to_string()))
    }
}

fn range<T: fmt::Display + PartialEq>(min: T, max: T) -> String {
    if min == max { min.to_string() } else { format!("{min} to {max}") }
}

fn some_or_none(text: String) -> String {
    if text.is_empty() { "none".to_owned() } else { text }
}

fn count(number: usize, what: &str) -> String {
    if number == 0 { "none".to_owned() } else { format!("{number} {what}") }
}
