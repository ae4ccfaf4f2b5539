//! Warnings about a folder of images that should be checked before training.

use std::fmt;

use serde::Serialize;

use crate::name::shown;
use crate::{PassedOver, PixelFormat, TableRows};

/// Something to check before training.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum DataWarning {
    /// All labels are the same. Often the folder is one level too high.
    OneClass {
        /// The class.
        name: String,
        /// Number of its own sub-folders with images, which may be the intended classes.
        sub_folders: usize,
    },
    /// All classes have names of splits, such as train and test.
    PartsAsClasses {
        /// The classes.
        names: Vec<String>,
    },
    /// A class whose name is a list of other classes.
    ListsAsClasses {
        /// The class.
        name: String,
        /// The separator of the other classes in its name.
        separator: char,
    },
    /// Files that were not read, but may be tables of classes.
    UnusedTables {
        /// Their names.
        names: Vec<String>,
    },
    /// Rows of the table of classes whose image does not exist.
    RowsWithoutImage(TableRows),
    /// All images are grey.
    Grey,
    /// Image files that hold more than 8-bit RGB and are converted to it.
    Converted {
        /// Number of files checked.
        looked_at: usize,
        /// The formats of these files other than 8-bit RGB.
        formats: Vec<FormatCount>,
    },
    /// NaNs or infinities.
    NotFinite {
        /// Their number, over all channels.
        numbers: u64,
        /// Their share of all values, 0 to 1.
        share: f64,
    },
    /// Channels of which many values equal the maximum. They may have been clipped.
    Saturated {
        /// The channels.
        channels: Vec<SaturatedChannel>,
    },
    /// Scenes of very different sizes.
    MixedSizes {
        /// (height, width) in pixels of the image with the fewest pixels.
        smallest: (usize, usize),
        /// (height, width) in pixels of the image with the most pixels.
        largest: (usize, usize),
    },
    /// Channels whose values are equal in all pixels of all images, or that have no finite value.
    ConstantChannels {
        /// The channels, counted from 1.
        channels: Vec<usize>,
    },
    /// Images without a label, while others have one.
    Unlabelled {
        /// Number of images.
        files: usize,
    },
    /// First-level sub-folders without images.
    EmptyFolders {
        /// Their names.
        names: Vec<String>,
    },
    /// One class has more than 10 times the files of another.
    Imbalance {
        /// The largest class.
        most: ClassCount,
        /// The smallest class.
        least: ClassCount,
    },
    /// Images that occur more than once.
    Duplicates {
        /// Number of images that could be left out.
        copies: usize,
        /// Number of groups of equal images.
        groups: usize,
    },
    /// Equal images with different labels.
    DuplicatesAcrossClasses {
        /// Number of groups of equal images with more than one class.
        groups: usize,
    },
    /// Half of the images are enlarged by a factor of more than 2.
    Enlarged {
        /// (height, width) in pixels to which they are enlarged.
        image_size: (usize, usize),
        /// The factor by which a side is enlarged, at the median.
        times: f64,
    },
    /// A model with swapped height and width would show much more of the images.
    Orientation {
        /// The model's (height, width) in pixels.
        image_size: (usize, usize),
        /// The share of an image's area, 0 to 1, that evaluation shows, at the median.
        shown: f64,
        /// The same share for the swapped size.
        turned: f64,
    },
    /// Files and folders that are not part of the data set, although a user may expect them to be.
    PassedOver(PassedOver),
    /// Files that cannot be read.
    Unreadable {
        /// Number of files.
        files: usize,
        /// Their share of all files, 0 to 1.
        share: f64,
        /// The largest share allowed by [`BadFilePolicy::default`](crate::BadFilePolicy), if `share` exceeds it.
        exceeded: Option<f64>,
    },
}

/// A pixel format, and the files that have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FormatCount {
    /// The pixel format.
    pub format: PixelFormat,
    /// Number of files.
    pub files: usize,
    /// The name of the first of these files.
    pub first: String,
}

/// A channel of which many values equal its maximum.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SaturatedChannel {
    /// The channel, counted from 1.
    pub channel: usize,
    /// The channel's maximum.
    pub max: f64,
    /// The share of the channel's values that equal the maximum, 0 to 1.
    pub share: f64,
}

/// A class and its number of files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClassCount {
    /// The class's name.
    pub name: String,
    /// Number of its files.
    pub files: usize,
}

impl PassedOver {
    /// Returns a warning that says what was skipped and what to do; `None` if nothing was skipped.
    #[must_use]
    pub fn warning(&self) -> Option<DataWarning> {
        (!self.is_empty()).then(|| DataWarning::PassedOver(self.clone()))
    }
}

/// Formats a share as a percentage.
fn percent(share: f64) -> String {
    match 100.0 * share {
        small if small < 0.01 => "less than 0.01%".to_owned(),
        percent => format!("{percent:.2}%"),
    }
}

impl fmt::Display for DataWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneClass { name, sub_folders: 0 | 1 } => {
                write!(f, "all labelled images are of one class, {name}")
            }
            Self::OneClass { name, sub_folders } => write!(
                f,
                "all labelled images are of one class, {name}: if its {sub_folders} sub-folders are the classes, name \
                 that folder instead"
            ),
            Self::PartsAsClasses { names } => write!(
                f,
                "the folders {} are taken for classes: if they are splits of the data set, name one as the training images and another as the held-out images",
                names.join(", ")
            ),
            Self::ListsAsClasses { name, separator } => write!(
                f,
                "the class \"{name}\" lists other classes: if an image may have several classes, give its table as --labels, with --label-separator '{separator}'"
            ),
            Self::UnusedTables { names } => {
                let listed: Vec<_> = shown(names, String::clone).collect();
                write!(f, "not read: {}; --labels FILE takes classes from a table", listed.join(", "))
            }
            Self::RowsWithoutImage(TableRows { all, without_image }) => {
                write!(f, "{without_image} of {all} rows in the table of classes name no image in the folder")
            }
            Self::Grey => write!(
                f,
                "all images are grey: they are read as three equal channels, and normalised by ImageNet's RGB means unless --mean and --std are given"
            ),
            Self::Converted { looked_at, formats } => {
                let files: usize = formats.iter().map(|format| format.files).sum();
                let named = |FormatCount { format, first, .. }: &FormatCount| format!("{first} is {format}");
                write!(
                    f,
                    "{files} of {looked_at} files checked have more than 8-bit RGB and are converted to it ({}): --pixels FORMAT keeps one \
                     format as it is",
                    shown(formats, named).collect::<Vec<_>>().join(", ")
                )
            }
            Self::NotFinite { numbers, share } => write!(
                f,
                "{numbers} number(s), {}, are not finite (NaN or infinite): they are left out of the means, deviations and ranges",
                percent(*share)
            ),
            Self::Saturated { channels } => {
                let named = |SaturatedChannel { channel, max, share }: &SaturatedChannel| {
                    format!("{} of channel {channel} ({max})", percent(*share))
                };
                let listed: Vec<_> = shown(channels, named).collect();
                write!(f, "numbers may have been clipped: the largest number is {}", listed.join(", "))
            }
            Self::MixedSizes { smallest, largest } => write!(
                f,
                "scenes have {}x{} to {}x{} px, but each gives as many samples per epoch: cut large ones into parts if all pixels should \
                 count equally",
                smallest.0, smallest.1, largest.0, largest.1
            ),
            Self::ConstantChannels { channels } => {
                let listed: Vec<_> = shown(channels, usize::to_string).collect();
                write!(
                    f,
                    "channel(s) {} are constant over all images: normalising them would divide by 0; leave them out, or give --std",
                    listed.join(", ")
                )
            }
            Self::Unlabelled { files } => {
                write!(f, "{files} file(s) have no label, but others have one")
            }
            Self::EmptyFolders { names } => {
                let listed: Vec<_> = shown(names, String::clone).collect();
                write!(
                    f,
                    "{} sub-folder(s) without an image are not classes: {}",
                    names.len(),
                    listed.join(", ")
                )
            }
            Self::Imbalance { most, least } => write!(
                f,
                "the classes are imbalanced: {} has {} files, {} has {}",
                most.name, most.files, least.name, least.files
            ),
            Self::Duplicates { copies, groups } => {
                write!(f, "{copies} image(s) are copies of others, in {groups} group(s)")
            }
            Self::DuplicatesAcrossClasses { groups } => {
                write!(
                    f,
                    "{groups} group(s) of equal images lie under different classes: labels contradict each other"
                )
            }
            Self::Enlarged { image_size: (height, width), times } => write!(
                f,
                "half of the images are enlarged {times:.1} times or more to {height}x{width} px: a smaller image size \
                 would show as much and cost less"
            ),
            Self::Orientation { image_size: (height, width), shown, turned } => write!(
                f,
                "at {height}x{width} px, height first, evaluation shows {:.0}% of an image; at {width}x{height} it would show \
                 {:.0}%",
                100.0 * shown,
                100.0 * turned
            ),
            Self::PassedOver(passed_over) => {
                write!(f, "skipped {passed_over}")?;
                passed_over.advice().map_or(Ok(()), |advice| write!(f, ": {advice}"))
            }
            Self::Unreadable { files, share, exceeded } => {
                write!(f, "{files} file(s), {:.1}%, cannot be read", 100.0 * share)?;
                match exceeded {
                    Some(limit) => write!(f, ": by default training accepts at most {:.1}%", 100.0 * limit),
                    None => write!(f, ": training replaces them by other images"),
                }
            }
        }
    }
}
