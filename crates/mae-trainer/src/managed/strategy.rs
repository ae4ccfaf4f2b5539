//! The training strategy: burn-train's learner and events in the loop that trains every task.

use std::sync::{Arc, Mutex, PoisonError};

use burn::data::dataloader::Progress as Items;
use burn::optim::GradientsParams;
use burn::tensor::Device;
use burn_train::metric::store::EventStoreClient;
use burn_train::{
    EventProcessorTraining, Interrupter, Learner, LearnerEvent, SupervisedLearningStrategy,
    SupervisedTrainingEventProcessor, TrainLoader, TrainingComponents, TrainingItem, ValidLoader,
};
use mae_model::Mae;

use super::checkpointer::OptimizerTap;
use super::learner::learner;
use super::metrics::{Known, Numbers};
use super::{Pretraining, Screen};
use crate::training::Engine;
use crate::{
    Measurement, Observer, Pretrain, Record, Run, StepReport, TrainState, Trainer, TrainerError, Update,
};

/// Where the strategy leaves the run's result.
pub(super) type Slot = Arc<Mutex<Option<Result<TrainState<Mae>, TrainerError>>>>;

/// Trains a run update by update, in [`Trainer`]'s loop.
///
/// Unlike burn-train's single-device strategy, it can begin at any update, writes checkpoints of the run (complete or
/// absent) by steps and by minutes, stops after the update at which it is told to, and handles a non-finite loss as the
/// recipe says. It reads the run's updates itself, not through burn-train's loaders.
pub struct PretrainingStrategy {
    pub(super) run: Arc<Run<Pretrain>>,
    pub(super) device: Device,
    /// `None` once training has begun.
    pub(super) begin: Mutex<Option<TrainState<Mae>>>,
    pub(super) stop_at: u64,
    pub(super) screen: Screen,
    pub(super) tell: fn(&str),
    pub(super) stop: Box<dyn Fn() -> bool + Send + Sync>,
    pub(super) result: Slot,
}

impl SupervisedLearningStrategy<Pretraining> for PretrainingStrategy {
    fn fit(
        &self,
        components: TrainingComponents<Pretraining>,
        learner: Learner<Pretraining>,
        _: TrainLoader<Pretraining>,
        _: ValidLoader<Pretraining>,
        _: usize,
    ) -> (Pretraining, SupervisedTrainingEventProcessor<Pretraining>) {
        let TrainingComponents { interrupter, event_store, mut event_processor, .. } = components;
        let tap = OptimizerTap::new(&interrupter);
        let mut engine = Managed { learner, tap, event_store };
        let events = Events {
            run: &self.run,
            screen: self.screen,
            interrupter: interrupter.clone(),
            processor: &mut event_processor,
            epoch: None,
        };
        let trainer = Trainer::new(&self.run, &self.device)
            .telling(if self.screen == Screen::Quiet { self.tell } else { |_| () })
            .stop_at(self.stop_at)
            .stop_when(&self.stop)
            .observed_by(events);
        let begin = self.begin.lock().unwrap_or_else(PoisonError::into_inner).take();
        let outcome = trainer.train_by(&mut engine, begin.expect("a strategy trains once"));
        if outcome.as_ref().is_ok_and(|state| !matches!(self.run.finished(state.step), Ok(true))) {
            interrupter.stop(Some("asked to stop"));
        }
        *self.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        (engine.learner.model(), event_processor)
    }
}

/// burn-train's learner. It owns the current optimizer; the state's is the one that training began with.
struct Managed {
    learner: Learner<Pretraining>,
    tap: OptimizerTap,
    event_store: Arc<EventStoreClient>,
}

impl Engine<Pretrain> for Managed {
    type Gradients = GradientsParams;

    fn gradients(
        &mut self,
        _: &TrainState<Mae>,
        update: Update<Pretrain>,
    ) -> Result<(GradientsParams, Measurement), TrainerError> {
        let output = self.learner.train_step(update);
        match output.item {
            Numbers::Unread(measured) => Ok((output.grads, *measured)),
            Numbers::Failed(reason) => Err(TrainerError::task(reason)),
            Numbers::Read(_) => unreachable!("a step does not read its numbers"),
        }
    }

    /// Uses the rate of the learner's own schedule, which is the run's.
    fn apply(&mut self, state: &mut TrainState<Mae>, _: f64, gradients: GradientsParams) {
        self.learner.lr_step();
        self.learner.optimizer_step(gradients);
        state.model = self.learner.model().mae;
    }

    fn leave_out(&mut self) {
        self.learner.lr_step();
    }

    fn restore(&mut self, run: &Run<Pretrain>, state: &TrainState<Mae>) {
        self.learner = learner(run, state);
    }

    fn complete(&mut self, state: &TrainState<Mae>) -> TrainState<Mae> {
        let record = self.tap.take(&self.learner, &self.event_store);
        TrainState { optimizer: state.optimizer.clone().load_record(record), ..state.clone() }
    }
}

/// Forwards events to burn-train's metrics and view.
struct Events<'a> {
    run: &'a Run<Pretrain>,
    screen: Screen,
    interrupter: Interrupter,
    processor: &'a mut SupervisedTrainingEventProcessor<Pretraining>,
    /// The epoch that burn-train is in.
    epoch: Option<u64>,
}

impl Events<'_> {
    fn send(&mut self, event: LearnerEvent<Numbers>) {
        self.interrupter.fail_on_error(self.processor.process_train(event));
    }

    fn end_epoch(&mut self) {
        let Some(epoch) = self.epoch.take() else { return };
        let number = epoch as usize + 1;
        self.send(LearnerEvent::EndSplit(number));
        self.send(LearnerEvent::EndEpoch(number));
    }
}

impl Observer for Events<'_> {
    fn update(&mut self, record: &Record) {
        self.screen.hear_interrupts();
        let pace = &self.run.pace;
        let items = |steps: u64| steps as usize * pace.effective_batch;
        let epoch = record.step.saturating_sub(1) / pace.steps_per_epoch;
        if self.epoch != Some(epoch) {
            self.end_epoch();
            self.epoch = Some(epoch);
            let total_items = items(pace.steps_per_epoch);
            self.send(LearnerEvent::StartSplit { epoch_number: epoch as usize + 1, total_items });
        }
        let done = record.step - epoch * pace.steps_per_epoch;
        let items = Items::new(items(done), items(pace.steps_per_epoch), Some("images".into()));
        let report = StepReport { loss: record.loss, grad_norm: record.grad_norm.unwrap_or(f64::NAN) };
        let Record { images_per_s, waiting_share, .. } = *record;
        let numbers = Numbers::Read(Known { report, images_per_s, waiting_share });
        let item = TrainingItem::new(numbers, items, Some(record.step as usize), Some(record.lr.into()));
        self.send(LearnerEvent::ProcessedItem(item));
    }

    fn stops(&self) -> bool {
        self.interrupter.should_stop()
    }
}

impl Drop for Events<'_> {
    fn drop(&mut self) {
        self.end_epoch();
    }
}
