//! Descriptions, for users, of what a run is about to do.

use std::fmt::Write as _;

use burn::tensor::Device;
use mae_data::PixelFormat;
use mae_vit::Precision;

use super::Run;
use super::checkpoint::TrainState;
use super::disk::no_room;
use crate::task::device_of;
use crate::training::optimizer::Groups;
use crate::{Task, TrainerError, chain};

impl<T: Task> Run<T> {
    /// The plan as a table: steps, rates, sizes, work and memory.
    pub fn plan(&self, model: &T::Model, device: &str) -> String {
        let mut text = String::new();
        let mut line =
            |name: &str, value: String| writeln!(text, "{name:<15} {value}").expect("a string grows");
        let (train, data, optim) = (&self.settings.train, &self.settings.data, &self.settings.optim);
        let images = |path: &Option<std::path::PathBuf>, count: usize| match path {
            Some(path) => format!("{}: {count} images", path.display()),
            None => format!("built-in shapes: {count} images"),
        };
        line("device", device.to_owned());
        let mut about = images(&data.path, self.data.train.len());
        if data.crops_per_image > 1 {
            about += &format!(", {} samples of each per epoch", data.crops_per_image);
        }
        if let Some(side) = data.window {
            about += &format!(", in windows of {side} x {side} px");
        }
        line("data", about);
        self.data.val.iter().for_each(|val| {
            let images = match data.val_share {
                Some(share) => format!("{} images of the same folder, {share} of each class", val.len()),
                None => images(&data.val, val.len()),
            };
            line("held-out", images);
        });
        if data.pixels != PixelFormat::Rgb8 {
            line("pixels", format!("{}, {}", data.pixels, data.normalize));
        }
        self.data.notes.iter().for_each(|(name, note)| line(name, note.clone()));
        self.task.describe().into_iter().for_each(|(name, value)| line(name, value));
        let all: usize =
            mae_model::list_params(model).iter().map(|p| p.shape.iter().product::<usize>()).sum();
        let Groups { decay, no_decay, sizes } = Groups::by(model, |param| self.task.decays(param));
        let millions = |count: usize| count as f64 / 1e6;
        line(
            "parameters",
            format!(
                "{:.2} M, {:.3} M of them trained: {:.2} M with weight decay {} in {} tensors, {:.3} M without in {}",
                millions(all),
                millions(sizes.0 + sizes.1),
                millions(sizes.0),
                optim.weight_decay,
                decay.len(),
                millions(sizes.1),
                no_decay.len()
            ),
        );
        let again = if train.grad_checkpointing { ", activations recomputed" } else { "" };
        let products = bf16_products(train.precision, &device_of(model));
        line("precision", format!("{}{products}{again}", train.precision));
        line("batch", self.batch_text('x'));
        line(
            "learning rate",
            format!(
                "{:.3e} = {:e} x {} / 256, {} epochs of warm-up, then {} to {}",
                self.pace.schedule.peak_lr(),
                optim.base_lr,
                self.pace.effective_batch,
                optim.warmup_epochs,
                optim.schedule,
                optim.min_lr
            ),
        );
        let pace = &self.pace;
        line("steps", format!("{} = {} epochs x {}", pace.total_steps, pace.epochs, pace.steps_per_epoch));
        if let Some(flops) = self.task.flops_per_image() {
            line("work", format!("{:.3} GFLOP per image and step", flops / 1e9));
        }
        if let Some(memory) = self.memory(model, &device_of(model)) {
            let gb = |bytes: u64| bytes as f64 / 1e9;
            line(
                "memory",
                format!(
                    "about {:.2} GB at the peak of a step: {:.2} for parameters, {:.2} for activations",
                    gb(memory.total()),
                    gb(memory.parameters),
                    gb(memory.activations)
                ),
            );
        }
        text
    }

    /// How the images of an update are composed: batch size, accumulation and ranks.
    pub(crate) fn batch_text(&self, times: char) -> String {
        let train = &self.settings.train;
        let ranks = if train.ranks == 1 { String::new() } else { format!(" {times} {} ranks", train.ranks) };
        format!(
            "{} = {} images {times} {} accumulated{ranks}",
            self.pace.effective_batch, train.batch_size, train.accum_iter
        )
    }

    /// Describes what is about to happen: the plan, the folder, warnings, damaged checkpoints and changed settings.
    pub fn describe(
        &self,
        state: &TrainState<T::Model>,
        device: &str,
        changes: &[String],
        damaged: &[TrainerError],
    ) -> String {
        let mut text = self.plan(&state.model, device) + "\n";
        let mut line =
            |name: &str, value: String| writeln!(text, "{name:<15} {value}").expect("a string grows");
        line("run", self.path("").display().to_string());
        let warnings = mae_data::data_warnings(self.data.train.as_ref(), self.geometry.image_size());
        warnings.iter().for_each(|warning| line("warning", warning.to_string()));
        no_room(state, T::MOMENTS, &self.path("")).into_iter().for_each(|text| line("warning", text));
        damaged.iter().for_each(|error| line("damaged", chain(error)));
        changes.iter().for_each(|change| line("changed", change.clone()));
        if state.step > 0 {
            line("continuing", format!("after step {} of {}", state.step, self.pace.total_steps));
        }
        text
    }
}

/// How bf16 products are computed on a CPU, and whether that is slower than f32.
fn bf16_products(precision: Precision, device: &Device) -> String {
    #[cfg(feature = "flex")]
    if let (Precision::Bf16, Some(products)) = (precision, mae_vit::ops::bf16_products(device)) {
        let no_use = match products {
            mae_vit::ops::Bf16Products::F32 => ": slower than f32 on this processor",
            _ => "",
        };
        return format!(", products by {products}{no_use}");
    }
    let _ = (precision, device);
    String::new()
}
