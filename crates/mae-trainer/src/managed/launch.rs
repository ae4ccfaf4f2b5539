//! Training of a run by `burn-train`.

use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::Device;
use burn_train::{SupervisedTraining, TrainingStrategy};

use super::quiet::Quiet;
use super::{GradNorm, ImagesPerSecond, Loss, PretrainingStrategy, Scalar, Screen, UpdateLoader, Waiting};
use mae_model::Mae;

use crate::{Pretrain, Run, Task, TrainState, TrainerError};

/// How `burn-train` trains a run.
pub struct Launch<'a> {
    /// Where to compute.
    pub device: &'a Device,
    /// What burn-train shows.
    pub screen: Screen,
    /// Receives progress lines if burn-train shows nothing.
    pub tell: fn(&str),
    /// Updates after which to stop for now.
    pub stop_at: u64,
    /// Called after each update; returns whether to stop.
    pub stop: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Launch<'_> {
    /// Trains a run from a state until it is finished or told to stop, and then writes a checkpoint.
    ///
    /// # Errors
    /// If images cannot be loaded, something cannot be written, or a loss that is not finite ends the run.
    pub fn train(
        self,
        run: &Arc<Run<Pretrain>>,
        state: TrainState<Mae>,
    ) -> Result<TrainState<Mae>, TrainerError> {
        let Self { device, screen, tell, stop_at, stop } = self;
        let result = Arc::new(Mutex::new(None));
        let loader = Arc::new(UpdateLoader::new(run.clone(), state.step));
        let learner = super::learner::learner(run, &state);
        // The learner has the optimizer's state from here on.
        let begin = TrainState { optimizer: run.task.optimizer(&run.settings, &state.model), ..state };
        let strategy = PretrainingStrategy {
            run: run.clone(),
            device: device.clone(),
            begin: Mutex::new(Some(begin)),
            stop_at,
            screen,
            tell,
            stop,
            result: result.clone(),
        };
        let training = SupervisedTraining::new(run.path(""), loader.clone(), loader)
            .metric_train_numeric(Scalar::<Loss>::new())
            .metric_train_numeric(Scalar::<GradNorm>::new())
            .metric_train_numeric(Scalar::<ImagesPerSecond>::new())
            .metric_train_numeric(Scalar::<Waiting>::new())
            .with_metric_logger(Quiet)
            .with_application_logger(None)
            .num_epochs(run.settings.train.epochs as usize)
            .with_training_strategy(TrainingStrategy::Custom(Arc::new(strategy)));
        let renderer = screen.renderer(&training.interrupter());
        let error = training.renderer(renderer).launch(learner).error;
        screen.closed();
        let result = result.lock().unwrap_or_else(PoisonError::into_inner).take();
        let state = result.expect("the strategy leaves a result")?;
        match error {
            Some(error) => Err(TrainerError::BurnTrain { reason: error.to_string() }),
            None => Ok(state),
        }
    }
}
