//! A classifier's training: its recipe, its images, its folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::tensor::Device;
use mae_data::{
    BadFilePolicy, DistributedSampler, EvalTransform, FinetuneTransform, FolderOptions, ImageSource, Loader,
    LoaderConfig, RandAugment, RandomErasing, RandomResizedCrop, TrainTransform, open_images,
};
use mae_model::{Classifier, ClassifierConfig, Head, Hints, WeightFile};
use mae_vit::Normalize;

use super::optimizer::layer_wise;
use super::{ClassifyData, ClassifyRecipe, Method};
use crate::atomic::write_atomic;
use crate::checkpoint::{TrainState, last_step, list_checkpoints, load_checkpoint, save_checkpoint};
use crate::contents::{Contents, check_there};
use crate::device::check_compute;
use crate::lock::FolderLock;
use crate::pace::{Job, Pace};
use crate::records::{EVALUATIONS, read_evaluations};
use crate::run::single;
use crate::run_folder::{CHECKPOINTS, Kind, RECIPE, read_recipe};
use crate::summary::MODEL;
use crate::{Collective, PublicRecipe, TrainerError, resizing};

/// Everything about the training of a classifier but the classifier: made once, then only read.
pub struct ClassifyRun {
    /// The resolved recipe, as it stands in the run's folder.
    pub recipe: ClassifyRecipe,
    /// The model.
    pub config: ClassifierConfig,
    /// How its images are normalised.
    pub normalize: Normalize,
    pub(super) pace: Pace,
    pub(super) train: Arc<dyn ImageSource>,
    pub(super) val: Arc<dyn ImageSource>,
    pub(super) loader: Loader,
    pub(super) sampler: DistributedSampler,
    folder: PathBuf,
    ranks: Arc<dyn Collective>,
    /// What is not as it was when the run was last continued, a line each.
    pub(super) changed: Vec<String>,
    _lock: FolderLock,
}

/// RandAugment's operations an image, and by how much their magnitudes deviate.
///
/// # Source
/// MAE table 9, `rand-m9-mstd0.5-inc1` in the official fine-tuning.
const OPERATIONS: usize = 2;
const MAGNITUDE_STD: f64 = 0.5;

/// Images of one forward pass in evaluation.
const BATCH: usize = 64;

impl ClassifyRun {
    /// Starts a new run in `folder`, which must not hold one yet, and writes its first checkpoint.
    ///
    /// # Errors
    /// If the recipe, the weights, the images or the folder cannot be used; nothing is written before all is checked.
    pub fn create(
        recipe: &ClassifyRecipe,
        hints: &Hints,
        folder: &Path,
        device: &Device,
    ) -> Result<(Self, TrainState<Classifier>), TrainerError> {
        if folder.join(RECIPE).exists() {
            return Err(TrainerError::RunExists { path: folder.into() });
        }
        let mut recipe = recipe.clone();
        recipe.settle_paths()?;
        let [train, val] = open_both(&recipe)?;
        let recipe = recipe.resolve(train.len())?;
        check_compute(recipe.compute(), device)?;
        let file = WeightFile::open_model(&recipe.model.weights, recipe.model.weights_key.as_deref())?;
        let vit = file.vit_config(hints)?;
        let normalize = recipe.data.normalize.clone().map_or_else(|| file.normalize(), Ok)?;
        normalize.validate(vit.geometry.in_chans())?;
        let head = match recipe.method {
            Method::Finetune => Head::FineTuned,
            Method::Probe => Head::Probe,
        };
        let classes = train.class_names().to_vec();
        let config = ClassifierConfig { vit, pooling: recipe.pooling(), head, classes };
        if let Some(blocks) = recipe.model.blocks.filter(|blocks| *blocks > vit.stack.depth) {
            let bound = format!("at most the encoder's {} blocks", vit.stack.depth);
            return Err(TrainerError::argument("blocks", blocks, bound));
        }
        let model = match recipe.model.from_scratch {
            true => config.init(recipe.seed, device)?,
            false => Classifier::new(file.encoder(hints, device)?.0, config.clone(), recipe.seed, device),
        };
        let state = fresh_state(&recipe, model);
        let make = |source| TrainerError::Write { path: folder.into(), source };
        fs::create_dir_all(folder).map_err(make)?;
        let lock = FolderLock::take(folder)?;
        let run = Self::assemble(recipe, config, normalize, [train, val], folder, lock)?;
        // Before the recipe, which makes a run of the folder.
        run.contents().write(folder)?;
        run.write_recipe()?;
        // From here on the folder and the images are enough.
        run.save(&state)?;
        Ok((run, state))
    }

    /// Opens a run to continue it from its last checkpoint that is whole; also returns what is wrong with newer ones. Its
    /// images lie where `train` and `val` say, or else where they were.
    ///
    /// # Errors
    /// If the folder holds no run of this method, its images cannot be used any more or are others, or no checkpoint is whole.
    pub fn open(
        folder: &Path,
        method: Method,
        [new_train, new_val]: [Option<&Path>; 2],
        device: &Device,
    ) -> Result<(Self, TrainState<Classifier>, Vec<TrainerError>), TrainerError> {
        let kind = match method {
            Method::Finetune => Kind::Finetune,
            Method::Probe => Kind::Probe,
        };
        let text = read_recipe(folder, kind)?;
        let before = ClassifyRecipe::parse(&text, &folder.join(RECIPE))?;
        let mut recipe = before.clone();
        let old = |new: Option<&Path>, old| new.is_none().then_some(old);
        check_there([
            ("--data", old(new_train, before.data.train.as_path())),
            ("--val", old(new_val, before.data.val.as_path())),
        ])?;
        for (path, new) in [(&mut recipe.data.train, new_train), (&mut recipe.data.val, new_val)] {
            if let Some(new) = new {
                *path = new.into();
            }
        }
        recipe.settle_paths()?;
        let [train, val] = open_both(&recipe)?;
        // Counted anew, and compared below with more than their number.
        recipe.data.images = None;
        let recipe = recipe.resolve(train.len())?;
        check_compute(recipe.compute(), device)?;
        let lock = FolderLock::take(folder)?;
        let mut damaged = Vec::new();
        for path in list_checkpoints(&folder.join(CHECKPOINTS))?.iter().rev() {
            let loaded = WeightFile::open(&path.join(MODEL)).map_err(TrainerError::from).and_then(|file| {
                let config = file.classifier_config(&Hints::default())?;
                let fresh = fresh_state(&recipe, config.init(0, device)?);
                Ok((config, file.normalize()?, load_checkpoint(path, fresh)?))
            });
            match loaded {
                Ok((config, normalize, state)) => {
                    if config.classes != train.class_names() {
                        let [was, is] = [&config.classes, train.class_names()].map(|names| names.join(", "));
                        let reason = format!("it tells [{was}] apart, but the classes are [{is}] now");
                        return Err(TrainerError::Checkpoint { path: path.clone(), reason });
                    }
                    let mut run = Self::assemble(recipe, config, normalize, [train, val], folder, lock)?;
                    run.take_up(&before)?;
                    return Ok((run, state, damaged));
                }
                Err(error) => damaged.push(error),
            }
        }
        Err(damaged.into_iter().next().unwrap_or_else(|| TrainerError::Read {
            path: folder.join(CHECKPOINTS),
            source: std::io::ErrorKind::NotFound.into(),
        }))
    }

    /// Checks what a continued run cannot go on with, and keeps what has changed.
    fn take_up(&mut self, before: &ClassifyRecipe) -> Result<(), TrainerError> {
        let found = self.contents().compare(&self.folder, before.data.images)?;
        self.pace.check_reached(last_step(&self.path(CHECKPOINTS))?.unwrap_or(0))?;
        let (old, new) = (&before.data, &self.recipe.data);
        let moved = [("data.train", &old.train, &new.train), ("data.val", &old.val, &new.val)];
        let moved = moved.into_iter().filter(|(_, old, new)| old != new);
        let line = |(field, old, new): (_, &PathBuf, &PathBuf)| {
            format!("{field} ({} before, {} now)", old.display(), new.display())
        };
        let moved: Vec<String> = moved.map(line).collect();
        if !found.known && !moved.is_empty() {
            let (path, changes) = (self.folder.clone(), moved.join(", "));
            return Err(TrainerError::ResumeWithOptions { path, changes });
        }
        self.changed = found.keep(&self.folder)?;
        if !moved.is_empty() {
            self.write_recipe()?;
        }
        self.changed.extend(moved);
        Ok(())
    }

    fn write_recipe(&self) -> Result<(), TrainerError> {
        write_atomic(&self.path(RECIPE), |file| file.write_all(self.recipe.to_toml().as_bytes()))
    }

    /// What its folders hold.
    fn contents(&self) -> Contents {
        let ClassifyData { train, val, .. } = &self.recipe.data;
        Contents::of((self.train.as_ref(), Some(train)), Some((self.val.as_ref(), Some(val))))
    }

    fn assemble(
        recipe: ClassifyRecipe,
        config: ClassifierConfig,
        normalize: Normalize,
        [train, val]: [Arc<dyn ImageSource>; 2],
        folder: &Path,
        lock: FolderLock,
    ) -> Result<Self, TrainerError> {
        let pace = recipe.pace(train.len())?;
        let sampler = DistributedSampler::new(train.len(), recipe.seed, 0, 1)?;
        let data = &recipe.data;
        let transform = training_transform(data, config.vit.geometry.image_size(), &normalize)?;
        let loader = Loader::new(
            train.clone(),
            Arc::new(transform),
            LoaderConfig {
                batch_size: recipe.batch_size.unwrap_or(1),
                workers: data.workers,
                prefetch_batches: data.prefetch_batches,
                channels: config.vit.geometry.in_chans(),
                bad_files: BadFilePolicy::Skip { max_share: data.max_bad_share },
                ..LoaderConfig::default()
            },
        )?;
        let (folder, ranks) = (folder.into(), single());
        Ok(Self {
            recipe,
            config,
            normalize,
            pace,
            train,
            val,
            loader,
            sampler,
            folder,
            ranks,
            changed: Vec::new(),
            _lock: lock,
        })
    }

    /// A loader of images as evaluation sees them.
    pub(super) fn evaluation_loader(&self, source: &Arc<dyn ImageSource>) -> Result<Loader, TrainerError> {
        let (geometry, transform) = (self.config.vit.geometry, self.eval_transform()?);
        let config = LoaderConfig {
            batch_size: BATCH.min(source.len()),
            workers: self.recipe.data.workers,
            prefetch_batches: self.recipe.data.prefetch_batches,
            drop_last: false,
            channels: geometry.in_chans(),
            // A run that has come this far is measured on what can be read.
            bad_files: BadFilePolicy::Skip { max_share: 1.0 },
            ..LoaderConfig::default()
        };
        Ok(Loader::new(source.clone(), Arc::new(transform), config)?)
    }

    fn eval_transform(&self) -> Result<EvalTransform, TrainerError> {
        Ok(EvalTransform::new(self.config.vit.geometry.image_size(), self.recipe.data.resize)?)
    }

    /// What its weight files say of it: its recipe, and how it is evaluated.
    pub(super) fn metadata(&self) -> Result<BTreeMap<String, String>, TrainerError> {
        let recipe = (PublicRecipe::KEY.to_owned(), self.recipe.to_toml());
        Ok([recipe, resizing::said(&self.eval_transform()?).entry()].into())
    }

    /// Writes a checkpoint. The newest are kept, and that of the best evaluation.
    ///
    /// # Errors
    /// If it cannot be written; earlier ones stay.
    pub fn save(&self, state: &TrainState<Classifier>) -> Result<PathBuf, TrainerError> {
        let best = self.best()?.map(|(step, _)| step);
        let (folder, keep) = (self.path(CHECKPOINTS), self.recipe.eval.keep_checkpoints);
        save_checkpoint(&folder, state, &self.normalize, &self.metadata()?, keep, best)
    }

    /// The step of the evaluation with the highest share of right answers, the first of equal ones, and that share.
    ///
    /// # Errors
    /// If the evaluations cannot be read.
    pub fn best(&self) -> Result<Option<(u64, f64)>, TrainerError> {
        let path = self.path(EVALUATIONS);
        let evaluations = if path.exists() { read_evaluations(&path)? } else { Vec::new() };
        let measured = evaluations.into_iter().filter_map(|e| Some((e.step, e.top1?)));
        Ok(measured.reduce(|best, next| if next.1 > best.1 { next } else { best }))
    }
}

impl Job for ClassifyRun {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn pace(&self) -> &Pace {
        &self.pace
    }

    fn ranks(&self) -> &Arc<dyn Collective> {
        &self.ranks
    }

    fn bad_files(&self) -> Vec<mae_data::BadFile> {
        self.loader.bad_files()
    }
}

/// Crops, mirrors, RandAugment and erasing, as far as the recipe has them.
fn training_transform(
    data: &ClassifyData,
    size: (usize, usize),
    normalize: &Normalize,
) -> Result<FinetuneTransform, TrainerError> {
    // torchvision's default range of aspect ratios.
    let crop = RandomResizedCrop::new(data.crop_scale, (3.0 / 4.0, 4.0 / 3.0))?;
    let train = TrainTransform::new(size, crop)?.with_flip(data.flip);
    if data.rand_augment == 0.0 && data.erasing == 0.0 {
        return Ok(FinetuneTransform::new(train, None, None));
    }
    let colours = |numbers: &[f32]| -> Result<[f64; 3], TrainerError> {
        let channels = numbers.len();
        let refused = || {
            let bound = "3 for RandAugment and random erasing, which are of colours";
            TrainerError::argument("the number of channels", channels, bound)
        };
        let numbers = <[f32; 3]>::try_from(numbers).map_err(|_| refused())?;
        Ok(numbers.map(f64::from))
    };
    let (mean, std) = (colours(normalize.mean())?, colours(normalize.std())?);
    let fill = mean.map(|mean| (255.0 * mean).round() as u8);
    let augment = |magnitude| RandAugment::new(magnitude, MAGNITUDE_STD, OPERATIONS, fill);
    let augment = Some(data.rand_augment).filter(|magnitude| *magnitude > 0.0).map(augment).transpose()?;
    let erasing = Some(data.erasing).filter(|probability| *probability > 0.0);
    let erasing = erasing.map(|probability| RandomErasing::new(probability, mean, std)).transpose()?;
    Ok(FinetuneTransform::new(train, augment, erasing))
}

/// A model that has seen nothing, with its optimizer.
fn fresh_state(recipe: &ClassifyRecipe, model: Classifier) -> TrainState<Classifier> {
    let model = model.with_compute(recipe.compute());
    let model = match (recipe.method, recipe.model.blocks) {
        (Method::Probe, _) => model.with_frozen_encoder(),
        (Method::Finetune, Some(blocks)) => model.with_trained_blocks(blocks),
        (Method::Finetune, None) => model,
    };
    let optimizer = match recipe.method {
        Method::Finetune => layer_wise(&model, recipe.optim.adamw, recipe.optim.layer_decay),
        Method::Probe => ModuleOptimizer::from(recipe.optim.lars),
    };
    TrainState { model: model.train(), optimizer, ema: None, step: 0, elapsed_s: 0.0, skipped: Vec::new() }
}

/// The training and the held-out images, which have the same classes, and every image one of them.
fn open_both(recipe: &ClassifyRecipe) -> Result<[Arc<dyn ImageSource>; 2], TrainerError> {
    let open = |path: &Path| -> Result<Arc<dyn ImageSource>, TrainerError> {
        let source: Arc<dyn ImageSource> = open_images(path, FolderOptions::default())?;
        let unlabelled = (0..source.len()).filter(|i| source.label(*i).is_none()).count();
        if unlabelled > 0 {
            return Err(TrainerError::Unlabelled { path: path.into(), unlabelled, images: source.len() });
        }
        Ok(source)
    };
    let (train, val) = (open(&recipe.data.train)?, open(&recipe.data.val)?);
    let classes = train.class_names();
    if val.class_names() != classes {
        return Err(TrainerError::Classes { train: classes.join(", "), val: val.class_names().join(", ") });
    }
    if classes.len() < 2 {
        return Err(TrainerError::argument("the number of classes", classes.len(), "at least 2"));
    }
    let mut counts = vec![0_usize; classes.len()];
    for label in (0..train.len()).filter_map(|i| train.label(i)) {
        counts[label as usize] += 1;
    }
    match counts.iter().position(|count| *count == 0) {
        Some(empty) => {
            Err(TrainerError::EmptyClass { path: recipe.data.train.clone(), class: classes[empty].clone() })
        }
        None => Ok([train, val]),
    }
}
