//! Extracts the optimizer's state from a `burn-train` learner, which gives it only to checkpointers.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use burn::optim::OptimizerRecord;
use burn_train::LearningCheckpointer;
use burn_train::checkpoint::{
    AsyncCheckpointer, Checkpoint, Checkpointer, CheckpointerError, CheckpointingAction,
    CheckpointingStrategy,
};
use burn_train::metric::store::EventStoreClient;
use burn_train::{Interrupter, Learner};

use super::Pretraining;

/// Takes the optimizer's state from a learner.
pub(super) struct OptimizerTap {
    checkpointer: LearningCheckpointer<Pretraining>,
    records: Receiver<OptimizerRecord>,
}

impl OptimizerTap {
    pub(super) fn new(interrupter: &Interrupter) -> Self {
        // Room for one record: only one is requested at a time.
        let (sender, records) = sync_channel(1);
        let checkpointer = LearningCheckpointer::new(
            AsyncCheckpointer::new(Ignore).with_interrupter(interrupter.clone()),
            AsyncCheckpointer::new(HandOn(sender)).with_interrupter(interrupter.clone()),
            AsyncCheckpointer::new(Ignore).with_interrupter(interrupter.clone()),
            Box::new(Always),
        );
        Self { checkpointer, records }
    }

    pub(super) fn take(
        &mut self,
        learner: &Learner<Pretraining>,
        store: &EventStoreClient,
    ) -> OptimizerRecord {
        self.checkpointer.checkpoint(learner, 0, store);
        self.records.recv().expect("the checkpointer's thread hands on what it is given")
    }
}

/// Saves whenever it is asked.
struct Always;

impl CheckpointingStrategy for Always {
    fn checkpointing(&mut self, _: usize, _: &EventStoreClient) -> Vec<CheckpointingAction> {
        vec![CheckpointingAction::Save]
    }
}

fn never_restored<R>() -> Result<R, CheckpointerError> {
    Err(CheckpointerError::Unknown("this state is restored with the run's own checkpoints".into()))
}

/// Discards what is available without a checkpointer: the model from the learner, the schedule from the step.
struct Ignore;

impl<R: Checkpoint> Checkpointer<R> for Ignore {
    fn save(&self, _: usize, _: R) -> Result<(), CheckpointerError> {
        Ok(())
    }

    fn delete(&self, _: usize) -> Result<(), CheckpointerError> {
        Ok(())
    }

    fn restore(&self, _: usize) -> Result<R, CheckpointerError> {
        never_restored()
    }
}

struct HandOn(SyncSender<OptimizerRecord>);

impl Checkpointer<OptimizerRecord> for HandOn {
    fn save(&self, _: usize, record: OptimizerRecord) -> Result<(), CheckpointerError> {
        self.0.send(record).map_err(|error| CheckpointerError::Unknown(error.to_string()))
    }

    fn delete(&self, _: usize) -> Result<(), CheckpointerError> {
        Ok(())
    }

    fn restore(&self, _: usize) -> Result<OptimizerRecord, CheckpointerError> {
        never_restored()
    }
}
