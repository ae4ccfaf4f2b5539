//! The images of a run: for training, evaluation and pictures.

use std::sync::Arc;

use mae_data::{
    BadFilePolicy, DataError, FinetuneTransform, ImageSource, LoaderConfig, RandAugment, RandomErasing,
    RandomResizedCrop, Shapes, Subset, TrainTransform, Transform, below, sample_rng,
};

use super::labelled::{Folders, folders};
use crate::{DataRecipe, DataSettings, Settings, TrainerError};

/// A set of images, or a part of one.
#[derive(Clone)]
pub struct ImageSet {
    /// The source of the images.
    pub source: Arc<dyn ImageSource>,
    /// The set's indices in the source.
    pub indices: Vec<usize>,
}

/// All images of a run.
#[derive(Clone)]
pub struct Data {
    /// The training images.
    pub train: Arc<dyn ImageSource>,
    /// Held-out images, if there are any.
    pub val: Option<Arc<dyn ImageSource>>,
    /// Notes for the plan and the report, each a name and a text, such as how many rows of a class table name an image.
    pub notes: Vec<(&'static str, String)>,
}

/// Seeds of the built-in training and held-out shapes. They differ, so that the two sets share nothing.
const SHAPES_SEEDS: (u64, u64) = (0, 1);

/// The epoch that keys the draws of [`ImageSet::spread`]. No training reaches it.
const SPREAD_EPOCH: u64 = u64::MAX - 1;

/// The number of held-out shapes: enough for a standard error of one percentage point.
const HELD_OUT_SHAPES: usize = 2000;

impl Data {
    /// Opens the folders of a recipe, packed or not, or makes the built-in shapes. If `need_labels`, images that a
    /// class table does not name are left out. The seed draws the images that are held out by share.
    ///
    /// # Errors
    /// If a folder or a table cannot be used.
    pub fn open(
        recipe: &DataRecipe,
        image_size: (usize, usize),
        seed: u64,
        need_labels: bool,
    ) -> Result<Self, TrainerError> {
        let Folders { train, val, notes } = folders(recipe, need_labels)?;
        let shapes = |seed, len| -> Result<Arc<dyn ImageSource>, DataError> {
            Ok(Arc::new(Shapes::new(seed, len, image_size)?))
        };
        let (train, val) = match (train, val, recipe.val_share) {
            (None, None, None) => {
                let val = shapes(SHAPES_SEEDS.1, HELD_OUT_SHAPES)?;
                (shapes(SHAPES_SEEDS.0, recipe.shapes)?, Some(val))
            }
            (None, val, None) => (shapes(SHAPES_SEEDS.0, recipe.shapes)?, val),
            (Some(train), val, None) => (train, val),
            (Some(train), None, Some(share)) => {
                let (train, val) = Subset::split(&train, share, seed)?;
                (Arc::new(train) as Arc<dyn ImageSource>, Some(Arc::new(val) as Arc<dyn ImageSource>))
            }
            (_, _, Some(share)) => {
                let bound = "left out if there are held-out images already (val, or the built-in ones)";
                return Err(TrainerError::argument("val_share", share, bound));
            }
        };
        Ok(Self { train, val, notes })
    }

    /// Checks that both sets have the same classes, if the held-out images have any.
    ///
    /// # Errors
    /// [`TrainerError::Classes`] names the classes of both.
    pub fn check_classes(&self) -> Result<(), TrainerError> {
        let (train, val) =
            (self.train.class_names(), self.val.as_ref().map_or(&[][..], |val| val.class_names()));
        match val.is_empty() || val == train {
            true => Ok(()),
            false => Err(TrainerError::Classes { train: train.join(", "), val: val.join(", ") }),
        }
    }

    /// The training images, each as often as an epoch takes samples from it.
    pub(crate) fn samples(&self, crops_per_image: usize) -> Arc<dyn ImageSource> {
        if crops_per_image == 1 {
            return self.train.clone();
        }
        let indices = (0..self.train.len() * crops_per_image).map(|i| i / crops_per_image).collect();
        Arc::new(Subset::new(self.train.clone(), indices).expect("the indices are within"))
    }

    /// The bank and the queries of a kNN evaluation: the labelled images of the training and of the held-out set.
    /// Without a held-out set, they are four fifths of the training set and the rest. `None` if either would be empty,
    /// for example if images have no label or several.
    pub fn knn_sets(&self, max_images: usize) -> Option<(ImageSet, ImageSet)> {
        let labelled = |source: &Arc<dyn ImageSource>| {
            let mut set = ImageSet::all(source);
            set.indices.retain(|i| source.label(*i).is_some());
            set
        };
        let mut bank = labelled(&self.train);
        let queries = match &self.val {
            Some(val) => labelled(val),
            None => {
                let (queries, rest) = bank.indices.iter().partition(|i| **i % 5 == 0);
                bank.indices = rest;
                ImageSet { source: self.train.clone(), indices: queries }
            }
        };
        let usable = !bank.indices.is_empty() && !queries.indices.is_empty();
        usable.then(|| (bank.spread(max_images), queries.spread(max_images)))
    }

    /// Every held-out image.
    ///
    /// # Errors
    /// If there are none.
    pub fn all_held_out(&self) -> Result<ImageSet, TrainerError> {
        let missing = || {
            TrainerError::argument(
                "val",
                "not given",
                "a folder of held-out images, or val_share a share of the training images",
            )
        };
        self.val.as_ref().map(ImageSet::all).ok_or_else(missing)
    }

    /// At most `max_images` held-out images, spread evenly, if there are any.
    pub fn held_out(&self, max_images: usize) -> Option<ImageSet> {
        self.val.as_ref().map(|val| ImageSet::all(val).spread(max_images))
    }

    /// The images that pictures show, taken from each class in turn if there are classes.
    pub fn picture_set(&self, count: usize) -> ImageSet {
        let all = ImageSet::all(self.val.as_ref().unwrap_or(&self.train));
        let classes = all.source.class_names().len();
        if classes == 0 {
            return all.spread(count);
        }
        // Images without a class form one more class.
        let mut by_class = vec![Vec::new(); classes + 1];
        for index in &all.indices {
            let first = all.source.labels(*index).and_then(|labels| labels.first().copied());
            by_class[first.map_or(classes, |label| label as usize)].push(*index);
        }
        // The first of every class, then the second of every class, and so on.
        let most = by_class.iter().map(Vec::len).max().unwrap_or(0);
        let turns = (0..most).flat_map(|i| by_class.iter().filter_map(move |class| class.get(i).copied()));
        ImageSet { indices: turns.take(count).collect(), source: all.source }
    }
}

impl ImageSet {
    /// All images of a source.
    pub fn all(source: &Arc<dyn ImageSource>) -> Self {
        Self { source: source.clone(), indices: (0..source.len()).collect() }
    }

    /// At most `count` of the images: one at random from each of `count` equal intervals, so that all classes are
    /// represented, whether they are sorted or interleaved.
    pub fn spread(mut self, count: usize) -> Self {
        let len = self.indices.len();
        if len > count {
            let stretch = |i: usize| (i * len / count, (i + 1) * len / count);
            let pick = |i: usize| {
                let (first, end) = stretch(i);
                first + below(&mut sample_rng(0, SPREAD_EPOCH, i), (end - first) as u64) as usize
            };
            self.indices = (0..count).map(|i| self.indices[pick(i)]).collect();
        }
        self
    }
}

/// RandAugment's number of operations per image, and the standard deviation of their magnitude.
///
/// # Source
/// MAE table 9, `rand-m9-mstd0.5-inc1` in the official fine-tuning.
const OPERATIONS: usize = 2;
const MAGNITUDE_STD: f64 = 0.5;

/// Makes the training transform: crop, flips, rotations, RandAugment and random erasing, as the recipe says.
pub(crate) fn train_transform(
    data: &DataSettings,
    size: (usize, usize),
) -> Result<Arc<dyn Transform>, TrainerError> {
    // torchvision's default range of aspect ratios.
    let crop = RandomResizedCrop::new(data.crop_scale, (3.0 / 4.0, 4.0 / 3.0))?;
    let train = TrainTransform::new(size, crop)?
        .with_flip(data.flip)
        .with_vertical_flip(data.flip_vertical)
        .with_quarter_turns(data.quarter_turns);
    let train = match data.window {
        Some(side) => train.with_window(side)?,
        None => train,
    };
    if data.rand_augment == 0.0 && data.erasing == 0.0 {
        return Ok(Arc::new(train));
    }
    let colours = |numbers: &[f32]| -> Result<[f64; 3], TrainerError> {
        let refused = || {
            let bound = "3 for RandAugment and random erasing, which need RGB";
            TrainerError::argument("the number of channels", numbers.len(), bound)
        };
        Ok(<[f32; 3]>::try_from(numbers).map_err(|_| refused())?.map(f64::from))
    };
    let (mean, std) = (colours(data.normalize.mean())?, colours(data.normalize.std())?);
    let fill = mean.map(|mean| (255.0 * mean).round() as u8);
    let augment = |magnitude| RandAugment::new(magnitude, MAGNITUDE_STD, OPERATIONS, fill);
    let augment = Some(data.rand_augment).filter(|magnitude| *magnitude > 0.0).map(augment).transpose()?;
    let erasing = Some(data.erasing).filter(|probability| *probability > 0.0);
    let erasing = erasing.map(|probability| RandomErasing::new(probability, mean, std)).transpose()?;
    Ok(Arc::new(FinetuneTransform::new(train, augment, erasing)))
}

pub(super) fn loader_config<S>(settings: &Settings<S>) -> LoaderConfig {
    let data = &settings.data;
    let bad_files = match data.strict {
        true => BadFilePolicy::Strict,
        false => BadFilePolicy::Skip { max_share: data.max_bad_share },
    };
    LoaderConfig {
        seed: settings.train.seed,
        batch_size: settings.train.batch_size,
        repeats: data.repeats,
        workers: data.workers,
        prefetch_batches: data.prefetch_batches,
        drop_last: true,
        bad_files,
    }
}
