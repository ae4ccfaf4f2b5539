//! Examines label maps before training: reads each once and reports what it finds.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crossbeam_channel::bounded;
use serde::Serialize;

use crate::loader::bad::reason;
use crate::loader::worker::without_panic;
use crate::maps::read::{classify, decode};
use crate::name::shown;
use crate::{BadFile, DataError, Doctor, IGNORE, ImageSource, Segmented, path_name};

/// The result of [`Doctor::examine_maps`].
///
/// `Display` is for people and shortens long lists; `Serialize` is complete.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MapReport {
    /// The folder of label images.
    pub root: String,
    /// Number of images with a label image.
    pub images: usize,
    /// The classes, by label.
    pub classes: Vec<MapClass>,
    /// Number of ignored pixels, in readable label images of the right size.
    pub ignored: u64,
    /// Number of all pixels in these label images.
    pub pixels: u64,
    /// Images whose pixels are all ignored.
    pub all_ignored: Vec<String>,
    /// Images without a label image, which are left out.
    pub without_map: Vec<String>,
    /// Label images that belong to no image.
    pub without_image: Vec<String>,
    /// Label images whose size differs from their image's, with both sizes.
    pub misfits: Vec<BadFile>,
    /// Values that are not in the class map, by label image and value.
    pub strays: Vec<StrayValue>,
    /// Label images and images that cannot be read, with the reason.
    pub unreadable: Vec<BadFile>,
}

/// A class of pixels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MapClass {
    /// The class's name.
    pub name: String,
    /// Number of its pixels.
    pub pixels: u64,
    /// Number of images in which it occurs.
    pub images: usize,
}

/// A value in a label image that is not in the class map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StrayValue {
    /// The path of the label image below its folder.
    pub path: String,
    /// The value, or the colour as `#rrggbb`.
    pub value: String,
    /// Number of pixels with this value.
    pub pixels: u64,
    /// The column of the first such pixel, from 0.
    pub x: usize,
    /// The row of that pixel, from 0.
    pub y: usize,
}

impl MapReport {
    /// Whether training would refuse any of the label maps.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        !self.misfits.is_empty() || !self.strays.is_empty() || !self.unreadable.is_empty()
    }

    /// Warnings about what to check before training, one line each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let listed = |names: &[String]| shown(names, String::clone).collect::<Vec<_>>().join(", ");
        let mut warn = |names: &[String], text: &str| {
            if !names.is_empty() {
                warnings.push(format!("{} {text}: {}", names.len(), listed(names)));
            }
        };
        let of_files = |files: &[BadFile]| files.iter().map(|file| file.reason.clone()).collect::<Vec<_>>();
        warn(&of_files(&self.unreadable), "label map(s) or image(s) cannot be read");
        warn(&of_files(&self.misfits), "label map(s) differ in size from their image");
        let strays = self.strays.iter().map(|stray| {
            let StrayValue { path, value, pixels, x, y } = stray;
            format!("{path} has {value} in {pixels} pixel(s), first at (x {x}, y {y})")
        });
        warn(&strays.collect::<Vec<_>>(), "value(s) are not in the class map");
        warn(&self.without_map, "image(s) have no label map and are left out");
        warn(&self.without_image, "label map(s) belong to no image");
        warn(&self.all_ignored, "image(s) have no pixel of any class");
        let absent = self.classes.iter().filter(|class| class.pixels == 0).map(|class| class.name.clone());
        let absent: Vec<_> = absent.collect();
        if self.classes.len() - absent.len() == 1 {
            warnings.push("all pixels that are not ignored are of one class".to_owned());
        } else if !absent.is_empty() && absent.len() < self.classes.len() {
            warnings.push(format!("{} class(es) have no pixel: {}", absent.len(), listed(&absent)));
        }
        warnings
    }
}

impl fmt::Display for MapReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, value: String| writeln!(f, "{name:<15} {value}");
        line("label maps", self.root.clone())?;
        line("images", format!("{} with a label map, {} without", self.images, self.without_map.len()))?;
        let percent = |pixels: u64| 100.0 * pixels as f64 / (self.pixels.max(1)) as f64;
        let count = self.classes.len();
        line(
            "pixel classes",
            format!("{count}; shares of all {} pixels, and the images with them", self.pixels),
        )?;
        for class in &self.classes {
            let MapClass { name, pixels, images } = class;
            line("", format!("{:6.2}%  {images:>6}  {name}", percent(*pixels)))?;
        }
        line("ignored", format!("{:.2}% of the pixels", percent(self.ignored)))?;
        self.warnings().into_iter().try_for_each(|warning| line("warning", warning))
    }
}

/// The content of one label map.
enum Found {
    /// The number of pixels of each class, ignored pixels, and unknown values.
    Map {
        counts: Vec<u64>,
        ignored: u64,
        strays: Vec<StrayValue>,
    },
    Misfit(String),
}

impl Doctor {
    /// Reads every label map as training would, and the headers of the images. Calls `progress(done, total)` on the
    /// caller's thread after each. An unreadable or wrong file does not end the examination.
    ///
    /// # Errors
    /// [`DataError::Argument`] for 0 threads, [`DataError::Workers`] if the system refuses a thread.
    pub fn examine_maps(
        &self,
        source: &Segmented,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<MapReport, DataError> {
        if self.threads == 0 {
            let (value, bound) = (0.to_string(), "at least 1".to_owned());
            return Err(DataError::Argument { name: "threads", value, bound });
        }
        let total = source.len();
        let next = AtomicUsize::new(0);
        let mut found: BTreeMap<usize, Result<Found, DataError>> = BTreeMap::new();
        thread::scope(|scope| {
            let (sender, results) = bounded(self.threads);
            for number in 0..self.threads.min(total) {
                let (sender, next) = (sender.clone(), &next);
                let work = move || {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let look = || without_panic(|| source.name(index), || examine(source, index));
                        if index >= total || sender.send((index, look())).is_err() {
                            return;
                        }
                    }
                };
                let builder = thread::Builder::new().name(format!("mae-doctor-{number}"));
                builder.spawn_scoped(scope, work).map_err(|source| DataError::Workers { source })?;
            }
            drop(sender);
            for (done, (index, result)) in (1..).zip(&results) {
                found.insert(index, result);
                progress(done, total);
            }
            Ok::<(), DataError>(())
        })?;
        Ok(report(source, found))
    }
}

/// Adds up the results in the order of the images.
fn report(source: &Segmented, found: BTreeMap<usize, Result<Found, DataError>>) -> MapReport {
    let classes = source.map_classes().iter();
    let mut report = MapReport {
        root: path_name(source.maps().root()),
        images: source.len(),
        classes: classes.map(|name| MapClass { name: name.clone(), pixels: 0, images: 0 }).collect(),
        ignored: 0,
        pixels: 0,
        all_ignored: Vec::new(),
        without_map: source.images_without_map().collect(),
        without_image: source.maps_without_image().into_iter().map(path_name).collect(),
        misfits: Vec::new(),
        strays: Vec::new(),
        unreadable: Vec::new(),
    };
    for (index, result) in found {
        let file = |reason: String| BadFile { index, name: source.name(index), reason };
        match result {
            Ok(Found::Map { counts, ignored, strays }) => {
                let labelled: u64 = counts.iter().sum();
                for (class, pixels) in report.classes.iter_mut().zip(counts) {
                    class.pixels += pixels;
                    class.images += usize::from(pixels > 0);
                }
                if labelled == 0 && strays.is_empty() {
                    report.all_ignored.push(source.name(index));
                }
                report.ignored += ignored;
                report.pixels += labelled + ignored + strays.iter().map(|stray| stray.pixels).sum::<u64>();
                report.strays.extend(strays);
            }
            Ok(Found::Misfit(reason)) => report.misfits.push(file(reason)),
            Err(error) => report.unreadable.push(file(reason(&error))),
        }
    }
    report
}

fn examine(source: &Segmented, index: usize) -> Result<Found, DataError> {
    let Some(relative) = source.map_path(index) else {
        return Err(DataError::Index { index, len: source.len() });
    };
    let (maps, name) = (source.maps(), path_name(relative));
    let path = maps.root().join(relative);
    let decoded = decode(&path, maps.limits())?;
    let mut strays: BTreeMap<String, StrayValue> = BTreeMap::new();
    let map = classify(&path, &decoded, maps.class_map(), |stray| {
        let value = stray.value.to_string();
        let (x, y) = (stray.x, stray.y);
        let first = || StrayValue { path: name.clone(), value: value.clone(), pixels: 0, x, y };
        strays.entry(value.clone()).or_insert_with(first).pixels += 1;
    })?;
    let map = match source.fit(index, map, &source.open(index)?) {
        Err(error @ DataError::MapSize { .. }) => return Ok(Found::Misfit(reason(&error))),
        map => map?,
    };
    let without_class = map.labels().iter().filter(|label| **label == IGNORE).count() as u64;
    let strays: Vec<StrayValue> = strays.into_values().collect();
    let ignored = without_class - strays.iter().map(|stray| stray.pixels).sum::<u64>();
    Ok(Found::Map { counts: map.counts(source.map_classes().len()), ignored, strays })
}
