//! Everything that can go wrong between a folder and a batch.

use std::path::PathBuf;

use crate::name::none_of;
use crate::{ImageError, PassedOver, PixelType, path_name};

/// Why an image, a folder, a transform or a loader was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// An argument lies outside what it may be.
    #[error("{name} is {value}, but must be {bound}")]
    Argument {
        /// The argument's name.
        name: &'static str,
        /// What it was.
        value: String,
        /// What it may be.
        bound: String,
    },

    /// An image or an image file that was refused.
    #[error(transparent)]
    Image(#[from] ImageError),

    /// An image that its new format cannot hold: JPEG has 65,535 pixels a side at most.
    #[error("cannot store the image {name}, {height}x{width}, in the format asked for")]
    Encode {
        /// What the data set calls it.
        name: String,
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
        /// What the encoder said.
        #[source]
        source: ::image::ImageError,
    },

    /// A file where a folder of images is needed.
    #[error("{} is a file, but a folder of images is needed", path_name(path))]
    NotAFolder {
        /// The file.
        path: PathBuf,
    },

    /// A folder that is missing or may not be listed.
    #[error("cannot list the folder {}", path_name(path))]
    Folder {
        /// The folder that was asked for.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },

    /// A folder with no image in it.
    #[error(
        "no images in the folder {}: looked for {extensions} in it and its sub-folders{}",
        path_name(path),
        passed_over.warning().map_or_else(String::new, |warning| format!("; {warning}"))
    )]
    EmptyFolder {
        /// The folder.
        path: PathBuf,
        /// The extensions that were looked for.
        extensions: String,
        /// What there was instead.
        passed_over: Box<PassedOver>,
    },

    /// A folder that a run was written into, where images were looked for.
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
        /// The index that was asked for.
        index: usize,
        /// The number of images.
        len: usize,
    },

    /// An image whose decoder or transform panicked.
    #[error("reading the image {name} panicked: {message}")]
    Panic {
        /// What the data set calls the image.
        name: String,
        /// The panic's message.
        message: String,
    },

    /// A sample that does not fit into its batch.
    #[error("{name} is a sample of {actual:?} (channels, height, width), but its batch is of {expected:?}")]
    SampleShape {
        /// What the data set calls the image.
        name: String,
        /// Channels, height and width that the transform made.
        actual: [usize; 3],
        /// Those that the loader was told of.
        expected: [usize; 3],
    },

    /// A sample whose numbers are of another type than those of its batch.
    #[error("{name} is a sample of {actual}, but its batch is of {expected}")]
    SampleType {
        /// What the data set calls the image.
        name: String,
        /// The type that the transform made.
        actual: PixelType,
        /// The type that the loader was told of.
        expected: PixelType,
    },

    /// More images that cannot be read than are put up with.
    #[error(
        "{bad} of {len} images cannot be read, a share of {share:.4} where the limit is {max_share}: {first}"
    )]
    TooManyBadFiles {
        /// Images found bad so far.
        bad: usize,
        /// The data set's length.
        len: usize,
        /// The share that they are of it.
        share: f64,
        /// The share that is put up with.
        max_share: f64,
        /// The first of them, and what is wrong with each.
        first: String,
    },

    /// A bad image whose place no other could take.
    #[error("{reason}{}", none_of(*others))]
    NoSubstitute {
        /// What is wrong with the image, which is named.
        reason: String,
        /// The images that were tried in its place.
        others: usize,
    },

    /// A batch that the samples do not fill.
    #[error("a batch of {batch_size} is larger than the set it is drawn from: {len} images")]
    BatchLargerThanSet {
        /// Images in a batch.
        batch_size: usize,
        /// Images that there are, of the whole data set or of one rank's share.
        len: usize,
    },

    /// An index of packed shards that is cut short, damaged or of another kind.
    #[error("cannot read line {line} of the index {}", path_name(path))]
    ShardIndex {
        /// The index.
        path: PathBuf,
        /// Where in it, from 1.
        line: usize,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },

    /// An index of packed shards that another version wrote.
    #[error("the index {} is of version {version}, but only version {known} is read", path_name(path))]
    ShardVersion {
        /// The index.
        path: PathBuf,
        /// Its version.
        version: u32,
        /// The version that is read.
        known: u32,
    },

    /// A number in an index that its shards or its own lines contradict.
    #[error("the index {} is wrong: {name} is {value}, but must be {bound}", path_name(path))]
    ShardNumber {
        /// The index.
        path: PathBuf,
        /// What it says something of.
        name: String,
        /// What it says.
        value: String,
        /// What it may say.
        bound: String,
    },

    /// A shard that is missing, or is no tar file.
    #[error("cannot read the shard {}", path_name(path))]
    Shard {
        /// The shard.
        path: PathBuf,
        /// What the system or the reader of tar files said.
        #[source]
        source: std::io::Error,
    },

    /// A shard that is cut short, or not the one that was packed.
    #[error("the shard {} has {bytes} bytes, but must have {expected}", path_name(path))]
    ShardLength {
        /// The shard.
        path: PathBuf,
        /// Its length.
        bytes: u64,
        /// The length that its index or its own headers tell.
        expected: u64,
    },

    /// A place in a shard where there is no such file as was said.
    #[error("the shard {} has no {entry} of {bytes} bytes at byte {offset}", path_name(path))]
    ShardEntry {
        /// The shard.
        path: PathBuf,
        /// The file that should be there.
        entry: String,
        /// Its length.
        bytes: u64,
        /// Where its first byte should be.
        offset: u64,
    },

    /// A folder that has neither an index nor a tar file with an image.
    #[error(
        "no packed images in the folder {}: looked for {looked_for}{}",
        path_name(path),
        passed_over.warning().map_or_else(String::new, |warning| format!("; {warning}"))
    )]
    NoShards {
        /// The folder.
        path: PathBuf,
        /// What would have been read.
        looked_for: String,
        /// What there was instead.
        passed_over: PassedOver,
    },

    /// A file that could not be written.
    #[error("cannot write {}", path_name(path))]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },

    /// A folder that images cannot be packed into.
    #[error("cannot pack into the folder {}: {reason}", path_name(path))]
    PackInto {
        /// The folder.
        path: PathBuf,
        /// Why not, and what to do.
        reason: String,
    },

    /// A table of classes that cannot be used.
    #[error("cannot use the table of classes {}: {reason}", path_name(path))]
    Labels {
        /// The table.
        path: PathBuf,
        /// Why not, with the line.
        reason: String,
    },

    /// A table that names image files and cannot be opened as a data set.
    #[error("cannot open the list of images {}: {reason}", path_name(path))]
    List {
        /// The table.
        path: PathBuf,
        /// Why not, with the line.
        reason: String,
    },

    /// A Parquet file that cannot be read, or an image in it.
    #[error("cannot read images from {}: {reason}", path_name(path))]
    Parquet {
        /// The file, or the folder of files.
        path: PathBuf,
        /// Why not, with the column and the row.
        reason: String,
    },

    /// A class map that cannot be used.
    #[error("cannot use the class map {}: {reason}", path_name(path))]
    ClassMap {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },

    /// A folder of label images, or a list of them, that cannot be used.
    #[error("cannot use the label images {}: {reason}", path_name(path))]
    LabelMaps {
        /// The folder or the list.
        path: PathBuf,
        /// Why not.
        reason: String,
    },

    /// A label image that cannot be decoded.
    #[error("cannot read the label image {}", path_name(path))]
    UnreadableMap {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<ImageError>,
    },

    /// A label image that cannot be used.
    #[error("cannot use the label image {}: {reason}", path_name(path))]
    LabelMap {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },

    /// A label image that is not of the size of its image.
    #[error(
        "the label image {} is {height}x{width}, but its image {image} is {image_height}x{image_width}",
        path_name(path)
    )]
    MapSize {
        /// The label image.
        path: PathBuf,
        /// Its rows.
        height: usize,
        /// Its columns.
        width: usize,
        /// What the data set calls the image.
        image: String,
        /// The image's rows.
        image_height: usize,
        /// The image's columns.
        image_width: usize,
    },

    /// A value in a label image that is not in the class map.
    #[error(
        "the label image {} has {value} at (x {x}, y {y}), but the class map has {known}",
        path_name(path)
    )]
    MapValue {
        /// The label image.
        path: PathBuf,
        /// The value or colour.
        value: String,
        /// The column of the first pixel with such a value, from 0.
        x: usize,
        /// Its row, from 0.
        y: usize,
        /// What the class map has.
        known: String,
    },

    /// An image without the label map that is needed.
    #[error("the image {name} has no label map")]
    NoLabelMap {
        /// What the data set calls the image.
        name: String,
    },

    /// The loader's threads could not do their work.
    #[error("the loader's worker threads failed")]
    Workers {
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl DataError {
    /// Whether label maps are wrong, and not an image: no other image can stand in for that.
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
