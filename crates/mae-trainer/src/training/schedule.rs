//! The learning rate at every step: linear warm-up, then cosine or linear decay.

use std::f64::consts::PI;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::TrainerError;

/// The batch size that a base learning rate is stated for.
///
/// # Source
/// MAE, table 8: `lr = base_lr * batch size / 256`, the linear scaling rule of arXiv 1706.02677.
pub const BASE_BATCH: f64 = 256.0;

/// The shape of the decay of the learning rate after warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RateDecay {
    /// Half a cosine.
    #[default]
    Cosine,
    /// A straight line: mmsegmentation's `PolyLR` with a power of 1.
    Linear,
}

impl RateDecay {
    /// The factor on the learning rate at the share `progress` of the decay, from 1 at its start to 0 at its end.
    fn share(self, progress: f64) -> f64 {
        match self {
            Self::Cosine => 0.5 * (1.0 + (PI * progress).cos()),
            Self::Linear => 1.0 - progress,
        }
    }
}

impl fmt::Display for RateDecay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cosine => "cosine",
            Self::Linear => "linear",
        })
    }
}

/// The configuration of a [`Schedule`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScheduleConfig {
    /// The learning rate for a batch of [`BASE_BATCH`] images.
    pub base_lr: f64,
    /// Images that one update sees: per-device batch * devices * accumulated batches.
    pub effective_batch: usize,
    /// Updates before the peak, during which the learning rate grows from 0.
    pub warmup_steps: u64,
    /// Updates in all, warm-up included.
    pub total_steps: u64,
    /// The learning rate at the end.
    pub min_lr: f64,
    /// The shape of the decay after warm-up.
    pub decay: RateDecay,
}

/// Linear warm-up from 0, then cosine or linear decay to `min_lr`, set at every update.
///
/// # Source
/// MAE, table 8; the official `util/lr_sched.py::adjust_learning_rate`, whose fractional epoch at the update `step`
/// is `step / steps_per_epoch`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    peak_lr: f64,
    min_lr: f64,
    warmup_steps: u64,
    total_steps: u64,
    decay: RateDecay,
}

impl Schedule {
    /// Scales the base learning rate to the batch and checks the lengths.
    ///
    /// # Errors
    /// [`TrainerError::Argument`] unless `effective_batch` and `total_steps` are at least 1, `warmup_steps` at most
    /// `total_steps`, `base_lr` is positive and finite, and `min_lr` lies between 0 and the peak.
    pub fn new(config: &ScheduleConfig) -> Result<Self, TrainerError> {
        let &ScheduleConfig { base_lr, effective_batch, warmup_steps, total_steps, min_lr, decay } = config;
        let peak_lr = base_lr * effective_batch as f64 / BASE_BATCH;
        if !(base_lr > 0.0 && base_lr.is_finite()) {
            return Err(TrainerError::argument("base_lr", base_lr, "positive and finite"));
        }
        if effective_batch == 0 {
            return Err(TrainerError::argument("effective_batch", effective_batch, "at least 1"));
        }
        if total_steps == 0 {
            return Err(TrainerError::argument("total_steps", total_steps, "at least 1"));
        }
        if warmup_steps > total_steps {
            let bound = format!("at most the {total_steps} steps of the whole run");
            return Err(TrainerError::argument("warmup_steps", warmup_steps, bound));
        }
        if !(0.0..=peak_lr).contains(&min_lr) {
            let bound = format!(
                "from 0 to the peak {peak_lr:e} (base_lr {base_lr:e} * effective batch {effective_batch} / {BASE_BATCH})"
            );
            return Err(TrainerError::argument("min_lr", min_lr, bound));
        }
        Ok(Self { peak_lr, min_lr, warmup_steps, total_steps, decay })
    }

    /// The learning rate at the end of warm-up: `base_lr * effective_batch / 256`.
    #[must_use]
    pub fn peak_lr(&self) -> f64 {
        self.peak_lr
    }

    /// The learning rate of update `step`, counted from 0. It is 0 at step 0 if there is a warm-up.
    ///
    /// Deviation: from `total_steps` on it stays at `min_lr`, where the official cosine would rise again.
    #[must_use]
    pub fn lr(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            return self.peak_lr * step as f64 / self.warmup_steps as f64;
        }
        if step >= self.total_steps {
            return self.min_lr;
        }
        let progress = (step - self.warmup_steps) as f64 / (self.total_steps - self.warmup_steps) as f64;
        self.min_lr + (self.peak_lr - self.min_lr) * self.decay.share(progress)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    const CONFIG: ScheduleConfig = ScheduleConfig {
        base_lr: 1.5e-4,
        effective_batch: 4096,
        warmup_steps: 10,
        total_steps: 40,
        min_lr: 0.0,
        decay: RateDecay::Cosine,
    };

    fn assert_near(actual: f64, expected: f64, peak: f64) {
        assert!((actual - expected).abs() <= 1e-15 * peak.max(1.0), "{actual:e}, expected {expected:e}");
    }

    #[test]
    fn passes_through_the_angles_everyone_knows() {
        let schedule = Schedule::new(&CONFIG).unwrap();
        let peak = 2.4e-3; // 1.5e-4 * 4096 / 256
        // Warm-up: 0, a tenth, a half; cosine over 30 steps: 0, 60, 90, 120 degrees; then the floor.
        let expected = [
            (0, 0.0),
            (1, 0.1),
            (5, 0.5),
            (10, 1.0),
            (20, 0.75),
            (25, 0.5),
            (30, 0.25),
            (40, 0.0),
            (99, 0.0),
        ];
        for (step, share) in expected {
            assert_near(schedule.lr(step), share * peak, peak);
        }
    }

    #[derive(Deserialize)]
    struct Case {
        base_lr: f64,
        effective_batch: usize,
        warmup_steps: u64,
        total_steps: u64,
        min_lr: f64,
        decay: RateDecay,
        lr: Vec<(u64, f64)>,
    }

    #[test]
    fn agrees_with_timm() {
        let cases: Vec<Case> =
            serde_json::from_str(include_str!("../../tests/golden/schedule.json")).unwrap();
        assert!(cases.len() >= 3);
        for Case { base_lr, effective_batch, warmup_steps, total_steps, min_lr, decay, lr } in cases {
            let config =
                ScheduleConfig { base_lr, effective_batch, warmup_steps, total_steps, min_lr, decay };
            let schedule = Schedule::new(&config).unwrap();
            assert!(lr.len() > 20);
            for (step, expected) in lr {
                let relative = (schedule.lr(step) - expected).abs() / schedule.peak_lr();
                assert!(
                    relative < 1e-14,
                    "step {step} of {total_steps}: {} and {expected}",
                    schedule.lr(step)
                );
            }
        }
    }

    #[test]
    fn starts_at_the_peak_without_warm_up_and_may_be_nothing_else() {
        let schedule = Schedule::new(&ScheduleConfig { warmup_steps: 0, ..CONFIG }).unwrap();
        assert_eq!(schedule.lr(0), schedule.peak_lr());
        let schedule = Schedule::new(&ScheduleConfig { warmup_steps: 40, min_lr: 1e-5, ..CONFIG }).unwrap();
        assert!(schedule.lr(39) < schedule.peak_lr());
        assert_eq!(schedule.lr(40), 1e-5);
    }

    #[test]
    fn refuses_what_makes_no_schedule() {
        let message = |config| Schedule::new(&config).unwrap_err().to_string();
        assert_eq!(
            message(ScheduleConfig { warmup_steps: 41, ..CONFIG }),
            "warmup_steps is 41, but must be at most the 40 steps of the whole run"
        );
        assert_eq!(
            message(ScheduleConfig { min_lr: 3e-3, ..CONFIG }),
            "min_lr is 0.003, but must be from 0 to the peak 2.4e-3 (base_lr 1.5e-4 * effective batch 4096 / 256)"
        );
        assert_eq!(
            message(ScheduleConfig { total_steps: 0, ..CONFIG }),
            "total_steps is 0, but must be at least 1"
        );
        assert!(message(ScheduleConfig { effective_batch: 0, ..CONFIG }).starts_with("effective_batch is 0"));
        for base_lr in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(message(ScheduleConfig { base_lr, ..CONFIG }).starts_with("base_lr is "));
        }
        for min_lr in [-1e-9, f64::NAN] {
            assert!(message(ScheduleConfig { min_lr, ..CONFIG }).starts_with("min_lr is "));
        }
    }
}
