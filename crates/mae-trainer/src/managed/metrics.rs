//! The measurements of an update as metrics of `burn-train`.

use std::marker::PhantomData;
use std::sync::Arc;

use burn::tensor::TensorReadError;
use burn_train::metric::state::{FormatOptions, NumericMetricState};
use burn_train::metric::{
    Adaptor, Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes, NumericEntry,
    SerializedEntry,
};

use crate::{Measurement, StepReport};

/// The measurements of updates, once they are read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Known {
    /// Loss and gradient norm.
    pub report: StepReport,
    /// Images per second since the last reading.
    pub images_per_s: f64,
    /// The share of that time, 0 to 1, spent waiting for images.
    pub waiting_share: f64,
}

impl Known {
    pub(super) fn of(report: StepReport) -> Self {
        Self { report, images_per_s: 0.0, waiting_share: 0.0 }
    }

    pub(super) fn loss(loss: f64) -> Self {
        Self::of(StepReport { loss, grad_norm: 0.0 })
    }
}

/// An update's measurements on their way to burn-train's metrics.
#[derive(Clone, Debug)]
pub enum Numbers {
    /// Still on the device.
    Unread(Box<Measurement>),
    /// Read back.
    Read(Known),
    /// The update failed, for example because other ranks could not be reached.
    Failed(String),
}

impl Numbers {
    /// Returns the measurements. Waits for the device if they are still there.
    pub(super) fn read(self) -> Known {
        match self {
            Self::Unread(measured) => Known::of(measured.read()),
            Self::Read(measured) => measured,
            Self::Failed(_) => Known::loss(f64::NAN),
        }
    }
}

impl Adaptor<Known> for Numbers {
    fn adapt(&self) -> Known {
        self.clone().read()
    }
}

/// One of the measurements of an update.
pub trait Quantity: Clone + Send + Sync + 'static {
    /// Its name.
    const NAME: &'static str;
    /// Its unit, if it has one.
    const UNIT: Option<&'static str>;
    /// Whether more is better.
    const HIGHER_IS_BETTER: bool;

    /// Its value.
    fn of(measured: &Known) -> f64;
}

macro_rules! quantity {
    ($type:ident, $doc:literal, $name:literal, $unit:expr, $higher:literal, $value:expr) => {
        #[doc = $doc]
        #[derive(Clone, Copy, Debug)]
        pub struct $type;

        impl Quantity for $type {
            const NAME: &'static str = $name;
            const UNIT: Option<&'static str> = $unit;
            const HIGHER_IS_BETTER: bool = $higher;

            fn of(measured: &Known) -> f64 {
                let value: fn(&Known) -> f64 = $value;
                value(measured)
            }
        }
    };
}

quantity!(Loss, "The mean loss.", "Loss", None, false, |m| m.report.loss);
quantity!(GradNorm, "The gradient's norm.", "Gradient norm", None, false, |m| m.report.grad_norm);
quantity!(ImagesPerSecond, "The rate.", "Images per second", Some("images/s"), true, |m| m.images_per_s);
quantity!(Waiting, "The share of time spent waiting.", "Waiting for data", Some("%"), false, |m| 100.0
    * m.waiting_share);

/// A metric of one quantity: its value at each update and its mean over the epoch.
#[derive(Clone)]
pub struct Scalar<Q> {
    name: MetricName,
    state: NumericMetricState,
    quantity: PhantomData<Q>,
}

impl<Q: Quantity> Scalar<Q> {
    /// Makes the metric.
    pub fn new() -> Self {
        Self { name: Arc::new(Q::NAME.into()), state: NumericMetricState::default(), quantity: PhantomData }
    }

    fn format(&self) -> FormatOptions {
        let format = FormatOptions::new(self.name.clone()).precision(4);
        match Q::UNIT {
            Some(unit) => format.unit(unit),
            None => format,
        }
    }
}

impl<Q: Quantity> Default for Scalar<Q> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Q: Quantity> Metric for Scalar<Q> {
    type Input = Known;

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes { unit: Q::UNIT.map(Into::into), higher_is_better: Q::HIGHER_IS_BETTER }.into()
    }

    fn update(&mut self, item: &Known, _: &MetricMetadata) -> Result<SerializedEntry, TensorReadError> {
        self.state.update(Q::of(item), 1);
        Ok(self.state.compute_update(self.format()))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(self.state.compute_final(self.format()))
    }

    fn clear(&mut self) {
        self.state.reset();
    }
}

impl<Q: Quantity> Numeric for Scalar<Q> {
    fn value(&self) -> Option<NumericEntry> {
        Some(self.state.current_value())
    }

    fn running_value(&self) -> Option<NumericEntry> {
        Some(self.state.running_value())
    }

    fn final_value(&self) -> NumericEntry {
        self.state.final_value()
    }
}
