//! Derives warnings from a report.

use std::collections::BTreeSet;

use super::report::DataReport;
use super::warning::{ClassCount, DataWarning};
use super::{channels, classes, converted, sizes};
use crate::{BadFilePolicy, ImageFolder, ImageSource, PixelFormat};

/// The largest ratio between the sizes of the largest and the smallest class that gives no warning. Ours: ImageNet's
/// classes differ by a factor of less than 2, and data sets made to be imbalanced start at 10.
const IMBALANCE: usize = 10;

/// Returns the warnings about a report, in the order of its lines.
pub(crate) fn warnings(
    report: &DataReport,
    source: &dyn ImageSource,
    sub_folders: usize,
    sizes: Vec<(usize, usize)>,
) -> Vec<DataWarning> {
    let mut warnings = Vec::new();
    if let ([ClassCount { name, .. }], false) = (&report.classes[..], report.multi_label) {
        let by_table = report.table_rows.is_some();
        let sub_folders = if by_table { 0 } else { sub_folders };
        warnings.push(DataWarning::OneClass { name: name.clone(), sub_folders });
    }
    warnings.extend(classes::warnings(source));
    if !report.unused_tables.is_empty() {
        warnings.push(DataWarning::UnusedTables { names: report.unused_tables.clone() });
    }
    if let Some(rows) = report.table_rows.filter(|rows| rows.without_image > 0) {
        warnings.push(DataWarning::RowsWithoutImage(rows));
    }
    if report.grey > 0 && report.grey == report.readable {
        warnings.push(DataWarning::Grey);
    }
    warnings.extend(converted::warning(source));
    if report.missing > 0 {
        let share = report.missing_share;
        warnings.push(DataWarning::NotFinite { numbers: report.missing, share });
    }
    if let (Some(min), Some(max)) = (&report.min, &report.max) {
        let channels = channels::constant(min, max);
        if !channels.is_empty() {
            warnings.push(DataWarning::ConstantChannels { channels });
        }
    }
    if let (Some(min), Some(max), Some(saturated)) = (&report.min, &report.max, &report.saturated)
        && report.pixels != PixelFormat::Rgb8
    {
        let channels = channels::saturated(min, max, saturated);
        if !channels.is_empty() {
            warnings.push(DataWarning::Saturated { channels });
        }
    }
    warnings.extend(sizes::mixed(&sizes));
    if report.unlabelled > 0 && !report.classes.is_empty() {
        warnings.push(DataWarning::Unlabelled { files: report.unlabelled });
    }
    if !report.empty_folders.is_empty() && report.table_rows.is_none() {
        warnings.push(DataWarning::EmptyFolders { names: report.empty_folders.clone() });
    }
    if let Some((least, most)) = report.extremes()
        && most.files > IMBALANCE.saturating_mul(least.files)
    {
        warnings.push(DataWarning::Imbalance { most: most.clone(), least: least.clone() });
    }
    if let Some(smaller) = report.smaller {
        warnings.extend(sizes::warnings(sizes, smaller.size));
    }
    if !report.duplicates.is_empty() {
        let copies = report.duplicates.iter().map(|group| group.files.len() - 1).sum();
        warnings.push(DataWarning::Duplicates { copies, groups: report.duplicates.len() });
    }
    let groups = report.duplicates.iter().filter(|group| group.across_classes).count();
    if groups > 0 {
        warnings.push(DataWarning::DuplicatesAcrossClasses { groups });
    }
    warnings.extend(report.passed_over.warning());
    let files = report.unreadable.len();
    if files > 0 {
        let exceeded = BadFilePolicy::default().exceeded_by(files, report.files);
        let share = files as f64 / report.files as f64;
        warnings.push(DataWarning::Unreadable { files, share, exceeded });
    }
    warnings
}

/// Counts the second-level sub-folders that contain images.
pub(crate) fn sub_folders_of_classes(folder: &ImageFolder) -> usize {
    let paths = (0..folder.len()).filter_map(|index| folder.relative_path(index));
    let parents = paths.filter(|path| path.iter().nth(2).is_some());
    parents.map(|path| path.iter().take(2).collect::<Vec<_>>()).collect::<BTreeSet<_>>().len()
}
