//! What a run trains: the seam between the trainer, which is the same for all, and what differs.

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

/// What a run trains.
///
/// A task says what its model is, what the loss of a batch is, and what is measured. Everything else is the trainer's, the same for all
/// tasks: recipes, checkpoints and resuming, records, TensorBoard, the report page, the moving average of the weights, clipping, what
/// becomes of losses that are not finite, precision, ranks, the plan with its memory, the dry run and progress.
pub trait Task: Sized + Send + Sync + 'static {
    /// Its own sections of a recipe.
    type Recipe: TaskRecipe;
    /// What is trained.
    type Model: SavedModel + Send + Sync + 'static;

    /// Fills in what is open in the recipe and follows from the model, checks the task's own sections, and returns what images the
    /// model takes. Paths are absolute.
    ///
    /// # Errors
    /// Names the field, its value and the bound.
    fn fill(recipe: &mut Recipe<Self::Recipe>) -> Result<Geometry, TrainerError>;

    /// The images of the recipe with what the task needs beside them, such as label maps. By default they are taken as they are.
    ///
    /// # Errors
    /// If what belongs to the images cannot be used.
    fn join(_recipe: &Recipe<Self::Recipe>, data: Data) -> Result<Data, TrainerError> {
        Ok(data)
    }

    /// The task of a resolved recipe on these images.
    ///
    /// # Errors
    /// If the images do not fit, such as for lack of labels.
    fn new(settings: &SettingsOf<Self>, data: &Data) -> Result<Self, TrainerError>;

    /// A model with random weights, with [`Settings::compute`], and with the parameters that are not trained marked so.
    ///
    /// # Errors
    /// If its description is inconsistent.
    fn init(&self, seed: u64, device: &Device) -> Result<Self::Model, TrainerError>;

    /// The weights that a new run starts from, if not from random ones. They are written as the run's first checkpoint, and never asked
    /// for again.
    ///
    /// # Errors
    /// If a file cannot be used.
    fn start(&self, _seed: u64, _device: &Device) -> Result<Option<Self::Model>, TrainerError> {
        Ok(None)
    }

    /// The optimizer of a model: AdamW, where parameters of one dimension do not decay.
    fn optimizer(&self, settings: &SettingsOf<Self>, model: &Self::Model) -> ModuleOptimizer {
        settings.optim.adamw().init(model)
    }

    /// Whether a parameter has weight decay.
    fn decays(&self, param: &ParamInfo) -> bool {
        decays(param)
    }

    /// Whether every image needs a label. Images that a table of classes does not name are then left out.
    const NEEDS_LABELS: bool = false;

    /// Numbers that the optimizer keeps for each parameter.
    const MOMENTS: usize = ADAMW_MOMENTS;

    /// How training images are cropped and augmented for a model of this geometry; by default as the section `data` says.
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

    /// Whether [`loss`](Self::loss) needs pixels. If not, batches hold indices and labels alone, and nothing is loaded.
    fn needs_pixels(&self) -> bool {
        true
    }

    /// Work before the first update of a process, such as taking features once. Returns false if it was asked to stop.
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

    /// The mean loss of a batch, `[1]`. The model may be changed by what is no gradient, such as a running mean.
    ///
    /// # Errors
    /// If the batch cannot be used, or other ranks do not answer.
    fn loss(&self, model: &mut Self::Model, batch: Batch, at: &At<'_>) -> Result<Tensor<1>, TrainerError>;

    /// The gradients of the mean loss over the batches of an update. By default each batch is a pass of its own.
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

    /// What may be measured at an evaluation besides the loss on held-out images, and how it is shown.
    const METRICS: &'static [Metric] = &[];

    /// What the loss is, for charts.
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

    /// The images of a training batch as the model sees them, as `shown` shows them.
    ///
    /// # Errors
    /// Of what cannot be an image.
    fn examples(&self, batch: Batch, _at: &At<'_>, shown: &Shown) -> Result<Vec<Image>, TrainerError> {
        shown.images(&batch.images, batch.shape)
    }

    /// What it is, in a few lines of name and value, for the plan and the report.
    fn describe(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// What it is, in a few words.
    fn title(&self) -> String {
        Self::Recipe::TASK.to_owned()
    }

    /// Floating-point operations of a training step for one image, if they are known.
    fn flops_per_image(&self) -> Option<f64> {
        None
    }

    /// Bytes that a forward pass keeps of one image for the backward pass on a device, if they are known.
    fn activations_per_image(&self, _compute: Compute, _device: &Device) -> Option<usize> {
        None
    }

    /// What is to be said of a finished run, on all ranks.
    ///
    /// # Errors
    /// If images cannot be read or something cannot be written.
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

/// Where a batch is computed, and which one it is.
#[derive(Clone)]
pub struct At<'a> {
    /// Where.
    pub device: &'a Device,
    /// The processes that train together.
    pub ranks: &'a Arc<dyn Collective>,
    /// How its images are normalised.
    pub normalize: &'a Normalize,
    /// Its number among all batches of the run on all ranks, from 0. Random numbers of the whole batch are keyed by it.
    pub number: u64,
}

impl At<'_> {
    /// The update's `i`-th batch of this rank, if this is its first.
    pub(crate) fn batch(&self, i: usize) -> Self {
        Self { number: self.number + (i * self.ranks.size()) as u64, ..self.clone() }
    }

    /// A batch's images, normalised on the device.
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
