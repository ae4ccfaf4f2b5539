//! Training: the gradients of an update, the decision whether to apply it, the optimizer, the schedule and the loop.

pub(crate) mod backward;
mod ema;
mod gradients;
mod measurement;
pub(crate) mod nonfinite;
pub(crate) mod optimizer;
pub(crate) mod pace;
pub(crate) mod reading;
mod schedule;
mod step;
mod trainer;

pub use backward::Backward;
pub use ema::Ema;
pub use measurement::{Measurement, StepReport};
pub use nonfinite::OnNan;
pub use optimizer::{AdamW, Groups};
pub use pace::Pace;
pub use schedule::{BASE_BATCH, RateDecay, Schedule, ScheduleConfig};
#[cfg(feature = "managed")]
pub(crate) use step::Engine;
pub use step::{Update, Updates, train_step};
pub use trainer::{Trainer, evaluate};
