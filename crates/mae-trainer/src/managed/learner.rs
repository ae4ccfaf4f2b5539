//! The masked autoencoder as a `burn-train` model: a step takes an update and returns gradients.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::ExecutionError;
use burn_train::{InferenceStep, ItemLazy, Learner, TrainOutput, TrainStep};
use mae_model::Mae;

use super::RunSchedule;
use super::metrics::{Known, Numbers};
use crate::task::device_of;
use crate::{Pretrain, Run, TrainState, Update};

/// A masked autoencoder in training.
#[derive(Module, Debug)]
pub struct Pretraining {
    /// The model.
    pub mae: Mae,
}

impl TrainStep for Pretraining {
    type Input = Update<Pretrain>;
    type Output = Numbers;

    /// Runs forward and backward passes over all batches of the update. The gradients are their mean, clipped as the
    /// recipe says. Burn's own accumulation, which sums, is not needed.
    fn step(&self, update: Update<Pretrain>) -> TrainOutput<Numbers> {
        match update.gradients(&mut self.mae.clone(), &device_of(&self.mae)) {
            Ok((grads, measured)) => TrainOutput { grads, item: Numbers::Unread(Box::new(measured)) },
            Err(error) => {
                TrainOutput { grads: GradientsParams::new(), item: Numbers::Failed(error.to_string()) }
            }
        }
    }
}

impl InferenceStep for Pretraining {
    type Input = Update<Pretrain>;
    type Output = Numbers;

    /// The loss of an update that is not applied.
    fn step(&self, update: Update<Pretrain>) -> Numbers {
        match update.loss(&self.mae, &device_of(&self.mae)) {
            Ok(loss) => Numbers::Read(Known::loss(loss)),
            Err(error) => Numbers::Failed(error.to_string()),
        }
    }
}

impl ItemLazy for Numbers {
    fn sync(self) -> Result<Self, ExecutionError> {
        Ok(Self::Read(self.read()))
    }
}

/// Makes the learner of a state.
pub(super) fn learner(run: &Run<Pretrain>, state: &TrainState<Mae>) -> Learner<Pretraining> {
    let model = Pretraining { mae: state.model.clone() }.train();
    Learner::new(model, state.optimizer.clone(), RunSchedule::new(run.pace.schedule, state.step))
}
