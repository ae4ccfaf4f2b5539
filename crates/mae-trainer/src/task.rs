//! The interface between the trainer, which is the same for all tasks, and the parts that differ.

use std::sync::Arc;

use burn::module::Module;
use burn::optim::ModuleOptimizer;
use burn::tensor::{Device, Tensor};
use mae_data::{Batch, Image, Transform};
use mae_model::{ParamInfo, SavedModel};
use mae_ranks::Collective;
use mae_report::{Metric, Outcome};
use mae_vit::{Compute, Geometry, Normalize};

use crate::context::{Aside, Context, train_transform};
use crate::training::Backward;
use crate::training::optimizer::{ADAMW_MOMENTS, decays};
use crate::{Data, Measured, Recipe, Section, Settings, Shown, TaskRecipe, TrainerError};

/// The resolved recipe of a task.
pub type SettingsOf<T> = Settings<<<T as Task>::Recipe as Section>::Settings>;

/// A training task.
///
/// A task defines its model, the loss of a batch, and what an evaluation measures. The trainer does everything else,
/// the same way for all tasks: recipes, checkpoints and resuming, records, TensorBoard, the report page, the moving
/// average of the weights, gradient clipping, the handling of non-finite losses, precision, ranks, the plan with its
/// memory estimate, the dry run and progress.
pub trait Task: Sized + Send + Sync + 'static {
    /// The task's own sections of a recipe.
    type Recipe: TaskRecipe;
    /// The model to train.
    type Model: SavedModel + Send + Sync + 'static;

    /// Fills in the open fields of the recipe that follow from the model, checks the task's own sections, and returns
    /// the geometry of the model's images. Paths are already absolute.
    ///
    /// # Errors
    /// If a value is out of bounds: names the field, its value and the bound.
    fn fill(recipe: &mut Recipe<Self::Recipe>) -> Result<Geometry, TrainerError>;

    /// Adds what the task needs besides the images of the recipe, such as label maps. By default, adds nothing.
    ///
    /// # Errors
    /// If the data that belongs to the images cannot be used.
    fn join(_recipe: &Recipe<Self::Recipe>, data: Data) -> Result<Data, TrainerError> {
        Ok(data)
    }

    /// Makes the task of a resolved recipe on these images.
    ///
    /// # Errors
    /// If the images do not fit the task, for example because they have no labels.
    fn new(settings: &SettingsOf<Self>, data: &Data) -> Result<Self, TrainerError>;

    /// Makes a model with random weights that computes as [`Settings::compute`] says. Parameters that are not trained
    /// are marked as such.
    ///
    /// # Errors
    /// If the model's description is inconsistent.
    fn init(&self, seed: u64, device: &Device) -> Result<Self::Model, TrainerError>;

    /// Returns the weights that a new run starts from, or `None` for random ones. The trainer writes them as the run's
    /// first checkpoint and never asks for them again.
    ///
    /// # Errors
    /// If a weight file cannot be used.
    fn start(&self, _seed: u64, _device: &Device) -> Result<Option<Self::Model>, TrainerError> {
        Ok(None)
    }

    /// Makes the optimizer of a model: by default AdamW, without weight decay for one-dimensional parameters.
    fn optimizer(&self, settings: &SettingsOf<Self>, model: &Self::Model) -> ModuleOptimizer {
        settings.optim.adamw().init(model)
    }

    /// Whether a parameter has weight decay.
    fn decays(&self, param: &ParamInfo) -> bool {
        decays(param)
    }

    /// Whether every image needs a label. If so, images that a class table does not name are left out.
    const NEEDS_LABELS: bool = false;

    /// The number of values that the optimizer keeps for each element of a trained parameter.
    const MOMENTS: usize = ADAMW_MOMENTS;

    /// Returns the transform that crops and augments training images for a model of this geometry. By default, it
    /// follows the section `data`.
    ///
    /// # Errors
    /// If a setting is out of bounds.
    fn transform(
        &self,
        settings: &SettingsOf<Self>,
        geometry: &Geometry,
    ) -> Result<Arc<dyn Transform>, TrainerError> {
        train_transform(&settings.data, geometry.image_size())
    }

    /// Whether [`loss`](Self::loss) needs pixels. If not, batches contain only indices and labels, and no image is
    /// loaded.
    fn needs_pixels(&self) -> bool {
        true
    }

    /// Does work before the first update of a process, such as extracting features once. Returns false if it was asked
    /// to stop.
    ///
    /// # Errors
    /// If images cannot be read.
    fn prepare(
        &self,
        _context: &Context,
        _model: &Self::Model,
        _device: &Device,
        _aside: &Aside<'_>,
    ) -> Result<bool, TrainerError> {
        Ok(true)
    }

    /// Returns the mean loss of a batch, `[1]`. It may change the model other than by gradients, such as by updating a
    /// running mean.
    ///
    /// # Errors
    /// If the batch cannot be used, or other ranks do not answer.
    fn loss(&self, model: &mut Self::Model, batch: Batch, at: &At<'_>) -> Result<Tensor<1>, TrainerError>;

    /// Computes the gradients of the mean loss over the batches of an update. By default, each batch is a separate
    /// pass.
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    fn gradients(
        &self,
        model: &mut Self::Model,
        batches: Vec<Batch>,
        at: &At<'_>,
        backward: &mut Backward<'_, Self::Model>,
    ) -> Result<(), TrainerError> {
        let count = batches.len();
        for (i, batch) in batches.into_iter().enumerate() {
            let loss = self.loss(model, batch, &at.batch(i))?;
            backward.add(model, loss, (i, count))?;
        }
        Ok(())
    }

    /// The metrics that an evaluation may measure besides the loss on held-out images, and how they are shown.
    const METRICS: &'static [Metric] = &[];

    /// The name of the loss, for charts.
    const LOSS: &'static str = "loss";

    /// The metric that selects the best evaluation.
    fn best(&self) -> Metric {
        Metric::VAL_LOSS
    }

    /// Measures a model on held-out images, on all ranks.
    ///
    /// # Errors
    /// If images cannot be read.
    fn evaluate(
        &self,
        context: &Context,
        model: &Self::Model,
        step: u64,
        device: &Device,
    ) -> Result<Measured, TrainerError>;

    /// Draws what a model has learnt into the run's folder `pictures`, after an evaluation, on the main rank.
    ///
    /// # Errors
    /// If images cannot be read or a picture cannot be written.
    fn draw(
        &self,
        _context: &Context,
        _model: &Self::Model,
        _step: u64,
        _device: &Device,
    ) -> Result<(), TrainerError> {
        Ok(())
    }

    /// The images of a training batch as the model sees them, rendered by `shown`.
    ///
    /// # Errors
    /// If the pixels do not form an image.
    fn examples(&self, batch: Batch, _at: &At<'_>, shown: &Shown) -> Result<Vec<Image>, TrainerError> {
        shown.images(&batch.images, batch.shape)
    }

    /// Describes the task in a few rows of name and value, for the plan and the report.
    fn describe(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// The task's title, in a few words.
    fn title(&self) -> String {
        Self::Recipe::TASK.to_owned()
    }

    /// Floating-point operations of a training step per image, if known.
    fn flops_per_image(&self) -> Option<f64> {
        None
    }

    /// Bytes per image that a forward pass on a device keeps for the backward pass, if known.
    fn activations_per_image(&self, _compute: Compute, _device: &Device) -> Option<usize> {
        None
    }

    /// Reports on a finished run, on all ranks.
    ///
    /// # Errors
    /// If images cannot be read or a file cannot be written.
    fn finish(
        &self,
        _context: &Context,
        _model: &Self::Model,
        _step: u64,
        _device: &Device,
    ) -> Result<Outcome, TrainerError> {
        Ok(Outcome::default())
    }
}

/// The context of a batch: where it is computed, and which one it is.
#[derive(Clone)]
pub struct At<'a> {
    /// The device.
    pub device: &'a Device,
    /// The processes that train together.
    pub ranks: &'a Arc<dyn Collective>,
    /// How the batch's images are normalised.
    pub normalize: &'a Normalize,
    /// The batch's number among all batches of the run on all ranks, from 0. It keys the random numbers of the whole
    /// batch.
    pub number: u64,
}

impl At<'_> {
    /// The context of this rank's `i`-th batch of the update, if `self` is that of the first.
    pub(crate) fn batch(&self, i: usize) -> Self {
        Self { number: self.number + (i * self.ranks.size()) as u64, ..self.clone() }
    }

    /// Takes the images out of a batch and normalises them on the device.
    ///
    /// # Shapes
    /// `[B, C, H, W]`
    pub fn images(&self, batch: &mut Batch) -> Tensor<4> {
        self.normalize.images(std::mem::take(&mut batch.images), batch.shape, self.device)
    }
}

/// A model's device.
pub(crate) fn device_of<M: Module>(model: &M) -> Device {
    model.devices().into_iter().next().expect("a model has parameters")
}
