//! What a resolved recipe comes to: steps, rates, sizes and work, printed before anything is trained.

use std::fmt;

use mae_model::{Mae, MaeConfig};

use crate::optimizer::Groups;
use crate::schedule::{Schedule, ScheduleConfig};
use crate::{Recipe, TrainerError};

/// The numbers that follow from a resolved recipe and a data set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Images of one forward pass.
    pub batch_size: usize,
    /// Forward passes to an update.
    pub accum_iter: usize,
    /// Updates to an epoch; a rest that fills no update is left out, or filled up.
    pub steps_per_epoch: u64,
    /// Updates in all.
    pub total_steps: u64,
    /// Processes that train together.
    pub ranks: usize,
    /// Images to an update: `batch_size · accum_iter · ranks`.
    pub effective_batch: usize,
    /// Images in the data set.
    pub images: usize,
    /// The learning rate at each update.
    pub schedule: Schedule,
    /// Updates from one evaluation to the next.
    pub evaluation_steps: u64,
    /// Updates from one checkpoint to the next, where not by time alone.
    pub checkpoint_steps: Option<u64>,
    /// The model.
    pub config: MaeConfig,
    /// Visible patches.
    pub num_keep: usize,
}

impl Plan {
    /// Works the numbers out.
    ///
    /// # Errors
    /// If the recipe is not resolved or a number is out of bounds.
    pub fn new(recipe: &Recipe, images: usize) -> Result<Self, TrainerError> {
        let recipe = recipe.clone().resolve(images)?;
        let config = recipe.mae_config()?;
        let batch_size = recipe.batch_size.unwrap_or(1);
        let effective_batch = recipe.effective_batch();
        let crops = images.saturating_mul(recipe.data.repeats);
        let steps_per_epoch = match recipe.data.drop_last {
            true => crops / effective_batch,
            false => crops.div_ceil(effective_batch),
        } as u64;
        let total_steps = recipe.epochs.saturating_mul(steps_per_epoch);
        let warmup_epochs = recipe.optim.warmup_epochs.unwrap_or(0.0);
        let schedule = Schedule::new(&ScheduleConfig {
            base_lr: recipe.optim.base_lr,
            effective_batch,
            warmup_steps: (warmup_epochs * steps_per_epoch as f64).round() as u64,
            total_steps,
            min_lr: recipe.optim.min_lr,
        })?;
        Ok(Self {
            batch_size,
            accum_iter: recipe.accum_iter,
            ranks: recipe.ranks.unwrap_or(1),
            steps_per_epoch,
            total_steps,
            effective_batch,
            images,
            schedule,
            evaluation_steps: recipe.eval.every_epochs.unwrap_or(1).saturating_mul(steps_per_epoch),
            checkpoint_steps: recipe.eval.checkpoint_steps,
            config,
            num_keep: mae_masking::num_keep(config.geometry.num_patches(), recipe.masking.mask_ratio)?,
        })
    }

    /// (epoch, update within the epoch) of an update counted from 0.
    pub fn position(&self, step: u64) -> (u64, u64) {
        (step / self.steps_per_epoch, step % self.steps_per_epoch)
    }

    /// Whether the model is to be evaluated and drawn: every so many epochs, and at the end.
    pub fn evaluation_due(&self, step: u64) -> bool {
        step == self.total_steps || step.is_multiple_of(self.evaluation_steps)
    }

    /// Whether a checkpoint is due by the number of updates done: where the recipe says so, and with every evaluation,
    /// since it may be the best.
    pub fn checkpoint_due(&self, step: u64) -> bool {
        self.evaluation_due(step) || self.checkpoint_steps.is_some_and(|every| step.is_multiple_of(every))
    }

    /// Floating-point operations of a training step for one image: forward, and twice that backward.
    pub fn flops_per_image(&self) -> f64 {
        3.0 * self.config.flops(self.num_keep)
    }

    /// The plan as a table, with where it runs and what the optimizer groups are.
    pub fn describe<'a>(
        &'a self,
        recipe: &'a Recipe,
        model: &'a Mae,
        device: &'a str,
    ) -> impl fmt::Display + 'a {
        Description { plan: self, recipe, groups: Groups::of(model), device }
    }
}

struct Description<'a> {
    plan: &'a Plan,
    recipe: &'a Recipe,
    groups: Groups,
    device: &'a str,
}

impl fmt::Display for Description<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, recipe, groups, device } = self;
        let MaeConfig { geometry, encoder, decoder, norm_pix_loss, .. } = &plan.config;
        let ((height, width), patch) = (geometry.image_size(), geometry.patch_size());
        let data = match &recipe.data.path {
            Some(path) => path.display().to_string(),
            None => "built-in shapes".into(),
        };
        let target = if *norm_pix_loss { "pixels normalised by patch" } else { "pixels" };
        let (decay, rest) = groups.sizes;
        writeln!(f, "device          {device}")?;
        writeln!(f, "data            {data}: {} images", plan.images)?;
        writeln!(
            f,
            "model           {}: encoder {} wide, {} blocks, {} heads; decoder {}, {}, {}",
            recipe.model.preset,
            encoder.embed_dim,
            encoder.depth,
            encoder.num_heads,
            decoder.embed_dim,
            decoder.depth,
            decoder.num_heads
        )?;
        writeln!(f, "images          {height}x{width} px, patch {patch}, predicting {target}")?;
        writeln!(
            f,
            "masking         {}, {} of {} patches visible",
            recipe.masking.strategy,
            plan.num_keep,
            geometry.num_patches()
        )?;
        writeln!(
            f,
            "parameters      {:.2} M, {:.2} M of them trained: {:.2} M with weight decay {} in {} tensors, {:.3} M without in {}",
            plan.config.num_params() as f64 / 1e6,
            (decay + rest) as f64 / 1e6,
            decay as f64 / 1e6,
            recipe.optim.adamw.weight_decay,
            groups.decay.len(),
            rest as f64 / 1e6,
            groups.no_decay.len()
        )?;
        let ranks = if plan.ranks == 1 { String::new() } else { format!(" x {} ranks", plan.ranks) };
        writeln!(
            f,
            "batch           {} = {} images x {} accumulated{ranks}",
            plan.effective_batch, plan.batch_size, plan.accum_iter
        )?;
        writeln!(
            f,
            "learning rate   {:.3e} = {:e} x {} / 256, {} epochs of warm-up, then cosine to {}",
            plan.schedule.peak_lr(),
            recipe.optim.base_lr,
            plan.effective_batch,
            recipe.optim.warmup_epochs.unwrap_or(0.0),
            recipe.optim.min_lr
        )?;
        writeln!(
            f,
            "steps           {} = {} epochs x {}",
            plan.total_steps, recipe.epochs, plan.steps_per_epoch
        )?;
        write!(f, "work            {:.3} GFLOP an image and step", plan.flops_per_image() / 1e9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_papers_numbers_come_out() {
        let mut recipe = Recipe { epochs: 800, batch_size: Some(512), accum_iter: 8, ..Recipe::default() };
        recipe.model.preset = mae_model::Preset::Base;
        (recipe.optim.base_lr, recipe.optim.warmup_epochs) = (1.5e-4, Some(40.0));
        let plan = Plan::new(&recipe, 1_281_167).unwrap();
        assert_eq!((plan.effective_batch, plan.steps_per_epoch, plan.num_keep), (4096, 312, 49));
        assert!((plan.schedule.peak_lr() - 2.4e-3).abs() < 1e-12);
        assert_eq!(plan.schedule.lr(40 * 312), plan.schedule.peak_lr());
        assert_eq!(plan.position(313), (1, 1));
    }
}
