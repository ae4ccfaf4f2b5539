//! What a resolved recipe comes to: steps, rates, sizes and work, printed before anything is trained.

use std::fmt;

use burn::module::Module;
use mae_model::{Mae, MaeConfig};

use crate::memory::Memory;
use crate::optimizer::Groups;
use crate::pace::{Pace, PaceConfig};
use crate::{Recipe, TrainerError};

/// The numbers that follow from a resolved recipe and a data set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Images of one forward pass.
    pub batch_size: usize,
    /// Forward passes to an update.
    pub accum_iter: usize,
    /// Processes that train together.
    pub ranks: usize,
    /// Images in the data set.
    pub images: usize,
    /// Updates and what is due when; an update takes `batch_size · accum_iter · ranks` images.
    pub pace: Pace,
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
        let pace = Pace::new(&PaceConfig {
            epochs: recipe.epochs,
            warmup_epochs: recipe.optim.warmup_epochs.unwrap_or(0.0),
            base_lr: recipe.optim.base_lr,
            min_lr: recipe.optim.min_lr,
            samples: images.saturating_mul(recipe.data.repeats),
            effective_batch: recipe.effective_batch(),
            drop_last: recipe.data.drop_last,
            every_epochs: recipe.eval.every_epochs.unwrap_or(1),
            checkpoint_steps: recipe.eval.checkpoint_steps,
        })?;
        Ok(Self {
            batch_size: recipe.batch_size.unwrap_or(1),
            accum_iter: recipe.accum_iter,
            ranks: recipe.ranks.unwrap_or(1),
            images,
            pace,
            config,
            num_keep: mae_masking::num_keep(config.geometry.num_patches(), recipe.masking.mask_ratio)?,
        })
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
        let averaged = recipe.optim.ema.is_some();
        let place = model.devices().into_iter().next().expect("a model has parameters");
        let memory = self.memory(recipe.compute(), averaged, &place);
        Description { plan: self, recipe, groups: Groups::of(model), device, memory }
    }
}

struct Description<'a> {
    plan: &'a Plan,
    recipe: &'a Recipe,
    groups: Groups,
    device: &'a str,
    memory: Memory,
}

impl fmt::Display for Description<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, recipe, groups, device, memory } = self;
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
        let compute = recipe.compute();
        let again = if compute.grad_checkpointing { ", activations computed again" } else { "" };
        writeln!(f, "precision       {}{again}", compute.precision)?;
        let ranks = if plan.ranks == 1 { String::new() } else { format!(" x {} ranks", plan.ranks) };
        writeln!(
            f,
            "batch           {} = {} images x {} accumulated{ranks}",
            plan.pace.effective_batch, plan.batch_size, plan.accum_iter
        )?;
        writeln!(
            f,
            "learning rate   {:.3e} = {:e} x {} / 256, {} epochs of warm-up, then cosine to {}",
            plan.pace.schedule.peak_lr(),
            recipe.optim.base_lr,
            plan.pace.effective_batch,
            recipe.optim.warmup_epochs.unwrap_or(0.0),
            recipe.optim.min_lr
        )?;
        writeln!(
            f,
            "steps           {} = {} epochs x {}",
            plan.pace.total_steps, recipe.epochs, plan.pace.steps_per_epoch
        )?;
        writeln!(f, "work            {:.3} GFLOP an image and step", plan.flops_per_image() / 1e9)?;
        let gb = |bytes: u64| bytes as f64 / 1e9;
        write!(
            f,
            "memory          about {:.2} GB at the height of a step: {:.2} for parameters, {:.2} for activations",
            gb(memory.total()),
            gb(memory.parameters),
            gb(memory.activations)
        )
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
        assert_eq!((plan.pace.effective_batch, plan.pace.steps_per_epoch, plan.num_keep), (4096, 312, 49));
        assert!((plan.pace.schedule.peak_lr() - 2.4e-3).abs() < 1e-12);
        assert_eq!(plan.pace.schedule.lr(40 * 312), plan.pace.schedule.peak_lr());
        assert_eq!(plan.pace.position(313), (1, 1));
    }
}
