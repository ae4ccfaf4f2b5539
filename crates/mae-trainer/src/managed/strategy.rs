//! The training strategy: burn-train's learner and events around updates that can be stopped, repeated and undone.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use burn::data::dataloader::Progress as Items;
use burn::tensor::Device;
use burn_train::{
    EventProcessorTraining, Interrupter, Learner, LearnerEvent, SupervisedLearningStrategy,
    SupervisedTrainingEventProcessor, TrainLoader, TrainingComponents, TrainingItem, ValidLoader,
};
use mae_model::Mae;
use mae_vit::ops;

use super::checkpointer::OptimizerTap;
use super::metrics::{Measured, Numbers};
use super::{Pretraining, View};
use crate::training::reading::Verdict;
use crate::{Pretrain, Progress, Record, Restored, Run, TrainState, TrainerError, evaluate};

/// Where the strategy leaves what became of the run.
pub(super) type Slot = Arc<Mutex<Option<Result<TrainState<Mae>, TrainerError>>>>;

/// Trains a run update by update.
///
/// It differs from burn-train's single-device strategy in that it begins at any update, writes checkpoints of the
/// run (whole or absent) by steps and by minutes, stops after the update at which it is told to, and deals with a
/// loss that is not finite as the recipe says. It reads the run's updates itself, not through burn-train's loaders.
///
/// On several ranks it is the same on each: [`Collective`](crate::Collective) averages the gradients, the main rank's
/// state is everyone's at the start, and what depends on a clock or a signal is agreed on.
pub struct PretrainingStrategy {
    pub(super) run: Arc<Run<Pretrain>>,
    pub(super) device: Device,
    /// Without the model and the optimizer's state, which the learner has.
    pub(super) begin: TrainState<Mae>,
    pub(super) stop_at: u64,
    pub(super) view: View,
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
        let tap = OptimizerTap::new(&components.interrupter);
        let mut fit = Fit { strategy: self, learner, tap, state: self.begin.clone(), components };
        let outcome = fit.train();
        let outcome = outcome.map(|()| fit.state());
        *self.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        (fit.learner.model(), fit.components.event_processor)
    }
}

/// A training on its way.
struct Fit<'a> {
    strategy: &'a PretrainingStrategy,
    learner: Learner<Pretraining>,
    tap: OptimizerTap,
    /// Step, average, time and skipped updates; model and optimizer are the learner's.
    state: TrainState<Mae>,
    components: TrainingComponents<Pretraining>,
}

impl Fit<'_> {
    fn train(&mut self) -> Result<(), TrainerError> {
        let Self { strategy: PretrainingStrategy { run, device, stop_at, view, stop, .. }, .. } = *self;
        let pace = &run.pace;
        let save_every = Duration::from_secs_f64(60.0 * run.settings.eval.checkpoint_minutes);
        let mut progress = Progress::start(run.as_ref(), &self.state, *view != View::Lines)?;
        let mut updates = run.updates().until(*stop_at);
        let (mut last_save, mut epoch) = (Instant::now(), None);

        while !run.finished(self.state.step)? {
            let step = self.state.step;
            if epoch != Some(pace.position(step).0) {
                self.end_epoch(epoch);
                epoch = Some(pace.position(step).0);
                self.begin_epoch(epoch);
            }

            let update = updates.at(step)?;
            let output = run.within_memory(|| self.learner.train_step(update))?;
            let measured = match output.item {
                Numbers::Unread(measured) => measured,
                Numbers::Failed(reason) => return Err(TrainerError::task(reason)),
                Numbers::Read(_) => unreachable!("a step does not read its numbers"),
            };
            let judged = run.within_memory(|| updates.judge(step, &mut self.state.skipped, *measured))?;
            let report = match judged? {
                Verdict::Make(report) => {
                    self.learner.lr_step();
                    run.within_memory(|| ops::together(|| self.learner.optimizer_step(output.grads)))?;
                    self.state.step += 1;
                    if let Some(ema) = &mut self.state.ema {
                        ema.update(&self.learner.model().mae, self.state.step);
                    }
                    report
                }
                Verdict::LeaveOut(report) => {
                    self.learner.lr_step();
                    self.state.step += 1;
                    Some(report)
                }
                Verdict::GoBack(report) => {
                    self.roll_back(run, device)?;
                    Some(report)
                }
            };
            let Some(report) = report else { continue };

            view.hear_interrupts();
            let record = progress.update(run.as_ref(), self.state.step, report, updates.waiting())?;
            self.state.elapsed_s = record.elapsed_s;
            let Record { images_per_s, waiting_share, .. } = record;
            self.tell(Numbers::Read(Measured { report, images_per_s, waiting_share }));

            if progress.evaluation_due(run.as_ref(), self.state.step) {
                let ema = self.state.ema.as_ref().map(|ema| ema.model.clone());
                let model = ema.unwrap_or_else(|| self.learner.model().mae);
                progress.evaluation(&evaluate(run, &model, self.state.step, device)?)?;
            }
            let interrupter = self.components.interrupter.clone();
            let (asked, overdue) = (stop() || interrupter.should_stop(), last_save.elapsed() >= save_every);
            let stopping = run.ranks().any(asked)? || self.state.step >= *stop_at;
            if stopping || pace.checkpoint_due(self.state.step) || run.ranks().any(overdue)? {
                if run.ranks().is_main() {
                    run.save(&self.state())?;
                }
                last_save = Instant::now();
            }
            if stopping {
                interrupter.stop(Some("asked to stop"));
                break;
            }
        }
        self.end_epoch(epoch);
        Ok(())
    }

    /// The whole state, to be saved.
    fn state(&mut self) -> TrainState<Mae> {
        let record = self.tap.take(&self.learner, &self.components.event_store);
        let optimizer = self.state.optimizer.clone().load_record(record);
        TrainState { model: self.learner.model().mae, optimizer, ..self.state.clone() }
    }

    /// Goes back to the last checkpoint, knowing which updates to leave out.
    fn roll_back(&mut self, run: &Run<Pretrain>, device: &Device) -> Result<(), TrainerError> {
        let Restored { state, .. } = run.latest_state(device)?;
        let skipped = std::mem::take(&mut self.state.skipped);
        self.learner = super::learner::learner(run, &state);
        self.state = TrainState { skipped, ..state };
        Ok(())
    }

    fn begin_epoch(&mut self, epoch: Option<u64>) {
        let pace = &self.strategy.run.pace;
        let epoch_number = epoch.map_or(1, |epoch| epoch as usize + 1);
        let total_items = pace.steps_per_epoch as usize * pace.effective_batch;
        let start = LearnerEvent::StartSplit { epoch_number, total_items };
        send(&self.components.interrupter, &mut self.components.event_processor, start);
    }

    fn end_epoch(&mut self, epoch: Option<u64>) {
        let Some(epoch) = epoch else { return };
        let number = epoch as usize + 1;
        for event in [LearnerEvent::EndSplit(number), LearnerEvent::EndEpoch(number)] {
            send(&self.components.interrupter, &mut self.components.event_processor, event);
        }
    }

    /// Hands numbers to burn-train's metrics.
    fn tell(&mut self, numbers: Numbers) {
        let pace = &self.strategy.run.pace;
        let step = self.state.step as usize;
        let done = match self.state.step % pace.steps_per_epoch {
            0 => pace.steps_per_epoch,
            done => done,
        };
        let items = |steps: u64| steps as usize * pace.effective_batch;
        let items = Items::new(items(done), items(pace.steps_per_epoch), Some("images".into()));
        let item = TrainingItem::new(numbers, items, Some(step), Some(self.learner.lr_current()));
        let event = LearnerEvent::ProcessedItem(item);
        send(&self.components.interrupter, &mut self.components.event_processor, event);
    }
}

fn send(
    interrupter: &Interrupter,
    processor: &mut SupervisedTrainingEventProcessor<Pretraining>,
    event: LearnerEvent<Numbers>,
) {
    interrupter.fail_on_error(processor.process_train(event));
}
