//! A task of your own: an encoder learns to predict a number for each image, from a CSV file of lines `name,number`.
//!
//! The trainer does the rest: options, recipes, `--resume`, checkpoints, curves, the report, ranks.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use mae::prelude::*;

sections! {
    /// This task's tables in a recipe.
    pub RegressionRecipe => RegressionSettings {
        /// Where the encoder comes from.
        model: EncoderRecipe,
        /// The target of the prediction.
        target: TargetRecipe,
    }
}

section! {
    /// The target of the prediction.
    pub TargetRecipe => TargetSettings {
        /// The CSV file.
        Fixed numbers: PathBuf = PathBuf::new();
    }
}

impl TaskRecipe for RegressionRecipe {
    const TASK: &'static str = "regression";
}

/// An encoder, and a linear head on the mean of its patch tokens.
#[derive(Module, Debug)]
pub struct Regressor {
    encoder: VisionTransformer,
    head: Linear,
    #[module(skip)]
    config: VitConfig,
}

impl Regressor {
    /// Normalised images `[B, C, H, W]` → `[B, 1]`
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.head.forward(VisionTransformer::pool(self.encoder.forward(images), Pooling::MeanPatch))
    }
}

impl SavedModel for Regressor {
    fn encoder_config(&self) -> VitConfig {
        self.config
    }
}

/// The task: its settings, and the numbers of the training and of the held-out images.
pub struct Regression(SettingsOf<Self>, [Vec<f32>; 2]);

impl Task for Regression {
    type Recipe = RegressionRecipe;
    type Model = Regressor;
    const METRICS: &'static [Metric] = &[Metric::error("mae", "mean absolute error")];

    fn fill(recipe: &mut Recipe<RegressionRecipe>) -> Result<Geometry> {
        recipe.task.model.fill(&mut recipe.data)
    }

    fn new(settings: &SettingsOf<Self>, data: &Data) -> Result<Self> {
        let of = |images: &dyn ImageSource| numbers(&settings.task.target.numbers, images);
        let numbers = [of(data.train.as_ref())?, of(data.all_held_out()?.source.as_ref())?];
        Ok(Self(settings.clone(), numbers))
    }

    fn init(&self, seed: u64, device: &Device) -> Result<Regressor> {
        let (config, mut rng) = (self.0.task.model.encoder, InitRng::new(seed));
        let encoder = config.init(&mut rng, device)?.with_compute(self.0.compute());
        let dim = config.stack.embed_dim;
        let head = Linear::from_weight(rng.normal(dim, 0.01), [dim, 1], device);
        Ok(with_path_ids(Regressor { encoder, head, config }))
    }

    fn start(&self, seed: u64, device: &Device) -> Result<Option<Regressor>> {
        let encoder = self.0.task.model.load(device)?.with_compute(self.0.compute());
        Ok(Some(with_path_ids(Regressor { encoder, ..self.init(seed, device)? })))
    }

    fn loss(&self, model: &mut Regressor, mut batch: Batch, at: &At<'_>) -> Result<Tensor<1>> {
        let numbers: Vec<f32> = batch.indices.iter().map(|index| self.1[0][*index]).collect();
        let numbers = Tensor::from_data(TensorData::new(numbers, [batch.indices.len(), 1]), at.device);
        Ok((model.forward(at.images(&mut batch)) - numbers).square().mean())
    }

    fn evaluate(&self, images: &Context, model: &Regressor, _: u64, device: &Device) -> Result<Measured> {
        let model = model.valid();
        let rows = images.held_out_rows(device, |images| model.forward(images))?;
        let errors: Vec<f32> =
            rows.values.iter().zip(&rows.indices).map(|(x, i)| x - self.1[1][*i]).collect();
        let mean =
            |of: fn(f32) -> f32| errors.iter().map(|e| f64::from(of(*e))).sum::<f64>() / errors.len() as f64;
        let measured = Measured { val_loss: Some(mean(|error| error * error)), ..Measured::default() };
        Ok(measured.with("mae", Some(mean(f32::abs))))
    }
}

/// The number of each image, looked up by its file name.
fn numbers(path: &Path, images: &dyn ImageSource) -> Result<Vec<f32>> {
    let text =
        std::fs::read_to_string(path).map_err(|source| TrainerError::Read { path: path.into(), source })?;
    let lines: HashMap<&str, &str> = text.lines().filter_map(|line| line.split_once(',')).collect();
    let of = |name: String| {
        let number = Path::new(&name).file_name().and_then(|file| lines.get(file.to_str()?)?.parse().ok());
        number.ok_or_else(|| TrainerError::task(format!("{} has no number for {name}", path.display())))
    };
    (0..images.len()).map(|i| of(images.name(i))).collect()
}

fn main() -> ExitCode {
    cli::main::<cli::NoArgs<Regression>>("Train an encoder to predict a number for each image.")
}
