//! The errors of everything between a folder and a batch.

use std::path::PathBuf;

use crate::name::none_of;
use crate::{ImageError, PassedOver, PixelType, path_name};

/// The reason why an image, a folder, a transform or a loader was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// An argument out of bounds.
    #[error("{name} is {value}, but must be {bound}")]
    Argument {
        /// The argument's name.
        name: &'static str,
        /// Its value.
        value: String,
        /// The values that are allowed.
        bound: String,
    },

    /// An image or an image file that was refused.
    #[error(transparent)]
    Image(#[from] ImageError),

    /// An image that does not fit the requested format: a JPEG has at most 65,535 pixels a side.
    #[error("cannot store the image {name}, {height}x{width}, in the requested format")]
    Encode {
        /// The image's name in the data set.
        name: String,
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// The encoder's error.
        #[source]
        source: ::image::ImageError,
    },

    /// A file where a folder of images is needed.
    #[error("{} is a file, but a folder of images is needed", path_name(path))]
    NotAFolder {
        /// The file.
        path: PathBuf,
    },

    /// A folder that is missing or cannot be listed.
    #[error("cannot list the folder {}", path_name(path))]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },

    /// A folder without images.
    #[error(
        "no images in the folder {}: looked for {extensions} in it and its sub-folders{}",
        path_name(path),
        passed_over.warning().map_or_else(String::new, |warning| format!("; {warning}"))
    )]
    EmptyFolder {
        /// The folder.
        path: PathBuf,
        /// The extensions searched for.
        extensions: String,
        /// The files and folders that were found but skipped.
        passed_over: Box<PassedOver>,
    },

    /// The folder of a run, where a folder of images was expected.
    #[error(
        "{} is the folder of a run, not of images: name a folder of images, or {} for the run's pictures",
        path_name(path),
        path_name(path.join("pictures"))
    )]
    RunFolder {
        /// The folder.
        path: PathBuf,
    },

    /// An index past the end of a data set.
    #[error("there is no image {index}: the data set has {len}")]
    Index {
        /// The requested index.
        index: usize,
        /// The number of images.
        len: usize,
    },

    /// An image whose decoder or transform panicked.
    #[error("reading the image {name} panicked: {message}")]
    Panic {
        /// The image's name in the data set.
        name: String,
        /// The panic's message.
        message: String,
    },

    /// A sample whose shape differs from its batch's.
    #[error(
        "the sample {name} has the shape {actual:?} (channels, height, width), but its batch has {expected:?}"
    )]
    SampleShape {
        /// The image's name in the data set.
        name: String,
        /// Channels, height and width of the transform's output.
        actual: [usize; 3],
        /// Channels, height and width that the loader expects.
        expected: [usize; 3],
    },

    /// A sample whose pixel type differs from its batch's.
    #[error("the sample {name} has pixels of type {actual}, but its batch has {expected}")]
    SampleType {
        /// The image's name in the data set.
        name: String,
        /// The pixel type of the transform's output.
        actual: PixelType,
        /// The pixel type that the loader expects.
        expected: PixelType,
    },

    /// Too many unreadable images.
    #[error(
        "{bad} of {len} images cannot be read, a share of {share:.4}, above the limit of {max_share}: {first}"
    )]
    TooManyBadFiles {
        /// Number of bad images found so far.
        bad: usize,
        /// The data set's length.
        len: usize,
        /// `bad` as a share of `len`.
        share: f64,
        /// The largest share allowed.
        max_share: f64,
        /// The names of the first bad images, with the error of each.
        first: String,
    },

    /// A bad image for which no substitute could be read.
    #[error("{reason}{}", none_of(*others))]
    NoSubstitute {
        /// The error of the image, including its name.
        reason: String,
        /// The number of substitutes that were tried.
        others: usize,
    },

    /// A batch size larger than the set of samples.
    #[error("a batch of {batch_size} is larger than the data set of {len} images")]
    BatchLargerThanSet {
        /// Number of images in a batch.
        batch_size: usize,
        /// Number of images in the whole data set, or in one rank's share of it.
        len: usize,
    },

    /// An index of packed shards that is truncated, damaged or in another format.
    #[error("cannot read line {line} of the index {}", path_name(path))]
    ShardIndex {
        /// The index.
        path: PathBuf,
        /// The line number, from 1.
        line: usize,
        /// The parser's error.
        #[source]
        source: serde_json::Error,
    },

    /// An index of packed shards whose version is not supported.
    #[error("the index {} is of version {version}, but only version {known} is supported", path_name(path))]
    ShardVersion {
        /// The index.
        path: PathBuf,
        /// Its version.
        version: u32,
        /// The supported version.
        known: u32,
    },

    /// A value in an index that contradicts its shards or its own other lines.
    #[error("the index {} is wrong: {name} is {value}, but must be {bound}", path_name(path))]
    ShardNumber {
        /// The index.
        path: PathBuf,
        /// The name of the value.
        name: String,
        /// The value in the index.
        value: String,
        /// The values that are allowed.
        bound: String,
    },

    /// A shard that is missing or is not a tar file.
    #[error("cannot read the shard {}", path_name(path))]
    Shard {
        /// The shard.
        path: PathBuf,
        /// The error of the system or of the tar reader.
        #[source]
        source: std::io::Error,
    },

    /// A shard that is truncated, or is not the one that was packed.
    #[error("the shard {} has {bytes} bytes, but must have {expected}", path_name(path))]
    ShardLength {
        /// The shard.
        path: PathBuf,
        /// Its length.
        bytes: u64,
        /// The length according to its index or its own headers.
        expected: u64,
    },

    /// A file that is not at its indexed position in a shard.
    #[error("the shard {} has no {entry} of {bytes} bytes at byte {offset}", path_name(path))]
    ShardEntry {
        /// The shard.
        path: PathBuf,
        /// The name of the missing file.
        entry: String,
        /// Its length.
        bytes: u64,
        /// The offset of its first byte according to the index.
        offset: u64,
    },

    /// A folder that contains neither an index nor a tar file with an image.
    #[error(
        "no packed images in the folder {}: looked for {looked_for}{}",
        path_name(path),
        passed_over.warning().map_or_else(String::new, |warning| format!("; {warning}"))
    )]
    NoShards {
        /// The folder.
        path: PathBuf,
        /// The files searched for.
        looked_for: String,
        /// The files and folders that were found but skipped.
        passed_over: PassedOver,
    },

    /// A file that could not be written.
    #[error("cannot write {}", path_name(path))]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },

    /// A folder that images cannot be packed into.
    #[error("cannot pack into the folder {}: {reason}", path_name(path))]
    PackInto {
        /// The folder.
        path: PathBuf,
        /// The reason, and what to do.
        reason: String,
    },

    /// A table of classes that cannot be used.
    #[error("cannot use the table of classes {}: {reason}", path_name(path))]
    Labels {
        /// The table.
        path: PathBuf,
        /// The reason, with the line.
        reason: String,
    },

    /// A table of image files that cannot be opened as a data set.
    #[error("cannot open the list of images {}: {reason}", path_name(path))]
    List {
        /// The table.
        path: PathBuf,
        /// The reason, with the line.
        reason: String,
    },

    /// A Parquet file that cannot be read, or that contains an unreadable image.
    #[error("cannot read images from {}: {reason}", path_name(path))]
    Parquet {
        /// The file, or the folder of files.
        path: PathBuf,
        /// The reason, with the column and the row.
        reason: String,
    },

    /// A class map that cannot be used.
    #[error("cannot use the class map {}: {reason}", path_name(path))]
    ClassMap {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },

    /// A folder or a list of label images that cannot be used.
    #[error("cannot use the label maps {}: {reason}", path_name(path))]
    LabelMaps {
        /// The folder or the list.
        path: PathBuf,
        /// The reason.
        reason: String,
    },

    /// A label image that cannot be decoded.
    #[error("cannot read the label map {}", path_name(path))]
    UnreadableMap {
        /// The file.
        path: PathBuf,
        /// The decoder's error.
        #[source]
        source: Box<ImageError>,
    },

    /// A label image that cannot be used.
    #[error("cannot use the label map {}: {reason}", path_name(path))]
    LabelMap {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },

    /// A label image whose size differs from its image's.
    #[error(
        "the label map {} is {height}x{width}, but its image {image} is {image_height}x{image_width}",
        path_name(path)
    )]
    MapSize {
        /// The label image.
        path: PathBuf,
        /// The label image's rows.
        height: usize,
        /// The label image's columns.
        width: usize,
        /// The image's name in the data set.
        image: String,
        /// The image's rows.
        image_height: usize,
        /// The image's columns.
        image_width: usize,
    },

    /// A value in a label image that is not in the class map.
    #[error("the label map {} has {value} at (x {x}, y {y}), but the class map has {known}", path_name(path))]
    MapValue {
        /// The label image.
        path: PathBuf,
        /// The value or colour.
        value: String,
        /// The column of the first pixel with this value, from 0.
        x: usize,
        /// The row of that pixel, from 0.
        y: usize,
        /// The values that the class map contains.
        known: String,
    },

    /// An image that lacks the label map it needs.
    #[error("the image {name} has no label map")]
    NoLabelMap {
        /// The image's name in the data set.
        name: String,
    },

    /// A failure of the loader's worker threads.
    #[error("the loader's worker threads failed")]
    Workers {
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
}

impl DataError {
    /// Whether the error is about label maps rather than an image. Substituting another image does not help then.
    #[must_use]
    pub fn is_of_label_maps(&self) -> bool {
        matches!(
            self,
            Self::ClassMap { .. }
                | Self::LabelMaps { .. }
                | Self::UnreadableMap { .. }
                | Self::LabelMap { .. }
                | Self::MapSize { .. }
                | Self::MapValue { .. }
                | Self::NoLabelMap { .. }
        )
    }
}
