//! The bounds of every field of a recipe.

use crate::{Recipe, TrainerError};

impl Recipe {
    /// Checks every value for a data set of `len` images.
    pub(crate) fn validate(&self, len: usize) -> Result<(), TrainerError> {
        if let Some(images) = self.data.images.filter(|images| *images != len) {
            return Err(TrainerError::DataChanged { images, len });
        }
        let within = |name, ok: bool, value: &dyn ToString, bound: &str| match ok {
            true => Ok(()),
            false => Err(TrainerError::argument(name, value.to_string(), bound)),
        };
        let (data, optim, eval) = (&self.data, &self.optim, &self.eval);
        within("epochs", self.epochs >= 1, &self.epochs, "at least 1")?;
        within("accum_iter", self.accum_iter >= 1, &self.accum_iter, "at least 1")?;
        let ranks = self.ranks.unwrap_or(1);
        within("ranks", ranks >= 1, &ranks, "at least 1")?;
        let batch = self.batch_size.unwrap_or(0);
        within("repeats", data.repeats >= 1, &data.repeats, "at least 1")?;
        let crops = len.saturating_mul(data.repeats);
        let bound = match data.repeats {
            1 => format!("the data set's {len} images"),
            repeats => format!("the {crops} crops of an epoch, {repeats} of each image"),
        };
        within("batch_size", (1..=crops).contains(&batch), &batch, &format!("from 1 to {bound}"))?;
        let whole = batch.is_multiple_of(data.repeats);
        within(
            "batch_size",
            whole,
            &batch,
            &format!("a multiple of the {} crops of each image", data.repeats),
        )?;
        let (effective, name) = match ranks {
            1 => (batch.saturating_mul(self.accum_iter), "batch_size times accum_iter"),
            _ => (self.effective_batch(), "batch_size times accum_iter times ranks"),
        };
        within(name, effective <= crops, &effective, &format!("at most {bound}"))?;
        within("workers", data.workers >= 1, &data.workers, "at least 1")?;
        within("prefetch_batches", data.prefetch_batches >= 1, &data.prefetch_batches, "at least 1")?;
        within(
            "max_bad_share",
            (0.0..=1.0).contains(&data.max_bad_share),
            &data.max_bad_share,
            "from 0 to 1",
        )?;
        let (low, high) = data.crop_scale;
        within(
            "crop_scale",
            0.0 < low && low <= high && high <= 1.0,
            &format!("{low} to {high}"),
            "a range within (0, 1]",
        )?;
        let warmup = optim.warmup_epochs.unwrap_or(0.0);
        let bound = format!("from 0 to the {} epochs of the run", self.epochs);
        within("warmup_epochs", (0.0..=self.epochs as f64).contains(&warmup), &warmup, &bound)?;
        optim.adamw.validate()?;
        let every = eval.metric_steps.unwrap_or(1);
        within("metric_steps", every >= 1, &every, "at least 1")?;
        within("knn_k", eval.knn_k >= 1, &eval.knn_k, "at least 1")?;
        let warm = eval.knn_temperature > 0.0 && eval.knn_temperature.is_finite();
        within("knn_temperature", warm, &eval.knn_temperature, "positive and finite")?;
        within("max_images", eval.max_images >= 2, &eval.max_images, "at least 2")?;
        within("pictures", eval.pictures >= 1, &eval.pictures, "at least 1")?;
        let minutes = eval.checkpoint_minutes;
        within("checkpoint_minutes", minutes >= 0.0, &minutes, "at least 0")?;
        let every = eval.every_epochs.unwrap_or(1);
        within("every_epochs", every >= 1, &every, "at least 1")?;
        let steps = eval.checkpoint_steps.unwrap_or(1);
        within("checkpoint_steps", steps >= 1, &steps, "at least 1")?;
        within("keep_checkpoints", eval.keep_checkpoints >= 1, &eval.keep_checkpoints, "at least 1")?;
        let clip = optim.clip_grad.unwrap_or(1.0);
        within("clip_grad", clip > 0.0 && clip.is_finite(), &clip, "positive and finite")?;
        let ema = optim.ema.unwrap_or(0.0);
        within("ema", (0.0..1.0).contains(&ema), &ema, "in [0, 1)")?;
        let patience = eval.patience.unwrap_or(1);
        within("patience", patience >= 1, &patience, "at least 1")?;
        let config = self.mae_config()?;
        config.validate()?;
        data.normalize.validate(config.geometry.in_chans())?;
        let geometry = config.geometry;
        let keep = mae_masking::num_keep(geometry.num_patches(), self.masking.mask_ratio)?;
        let bound = format!("large enough to mask one of {} patches", geometry.num_patches());
        within("mask_ratio", keep < geometry.num_patches(), &self.masking.mask_ratio, &bound)
    }
}

#[cfg(test)]
mod tests {
    use mae_vit::StackConfig;
    use toml::Value;

    use super::*;
    use crate::Plan;

    #[test]
    fn values_out_of_bounds_are_refused_with_the_bound() {
        let refused = |change: &dyn Fn(&mut Recipe), words: [&str; 2]| {
            let mut recipe = Recipe::default();
            change(&mut recipe);
            let error = crate::chain(&Plan::new(&recipe, 60).unwrap_err());
            assert!(words.iter().all(|w| error.contains(w)), "{error}");
        };
        refused(&|r| r.batch_size = Some(61), ["61", "60 images"]);
        refused(&|r| (r.batch_size, r.accum_iter) = (Some(16), 4), ["64", "60 images"]);
        refused(&|r| r.model.patch_size = Some(5), ["5", "32 px"]);
        refused(&|r| r.masking.mask_ratio = 1.0, ["1", "[0, 1)"]);
        refused(&|r| r.masking.mask_ratio = 0.99, ["0.99", "64 patches"]);
        refused(&|r| r.masking.mask_ratio = 0.0, ["mask_ratio is 0", "64 patches"]);
        refused(&|r| r.data.crop_scale = (0.5, 0.2), ["0.5 to 0.2", "(0, 1]"]);
        refused(&|r| r.optim.warmup_epochs = Some(101.0), ["101", "100 epochs"]);
        refused(&|r| r.optim.adamw.betas.1 = 1.0, ["beta", "[0, 1)"]);
        refused(&|r| r.epochs = 0, ["epochs is 0", "at least 1"]);
        refused(&|r| r.optim.base_lr = 0.0, ["base_lr", "0"]);
        refused(&|r| r.optim.min_lr = 1.0, ["min_lr is 1", "peak"]);
        refused(&|r| r.optim.clip_grad = Some(-1.0), ["clip_grad is -1", "positive"]);
        refused(&|r| r.optim.ema = Some(1.0), ["ema is 1", "[0, 1)"]);
        refused(&|r| r.data.repeats = 0, ["repeats is 0", "at least 1"]);
        refused(&|r| (r.data.repeats, r.batch_size) = (3, Some(16)), ["16", "multiple of the 3"]);
        refused(&|r| (r.data.repeats, r.batch_size) = (2, Some(122)), ["122", "120 crops"]);
        refused(&|r| r.eval.patience = Some(0), ["patience is 0", "at least 1"]);
        refused(&|r| r.eval.every_epochs = Some(0), ["every_epochs is 0", "at least 1"]);
        refused(&|r| r.eval.checkpoint_steps = Some(0), ["checkpoint_steps is 0", "at least 1"]);
        refused(&|r| r.eval.keep_checkpoints = 0, ["keep_checkpoints is 0", "at least 1"]);
        refused(&|r| r.model.encoder = Some(StackConfig::new(30, 2, 4)), ["30", "4"]);
        refused(&|r| r.model.decoder = Some(StackConfig::new(32, 0, 4)), ["depth", "0"]);
    }

    /// The places of all numbers in a recipe.
    fn numbers(value: &Value, path: &[String], places: &mut Vec<Vec<String>>) {
        let below = |key: String| [path, &[key]].concat();
        match value {
            Value::Integer(_) | Value::Float(_) => places.push(path.to_vec()),
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(i, item)| numbers(item, &below(i.to_string()), places));
            }
            Value::Table(table) => {
                table.iter().for_each(|(key, item)| numbers(item, &below(key.clone()), places));
            }
            _ => {}
        }
    }

    fn at<'a>(value: &'a mut Value, path: &[String]) -> &'a mut Value {
        path.iter().fold(value, |value, key| match value {
            Value::Array(items) => &mut items[key.parse::<usize>().unwrap()],
            Value::Table(table) => &mut table[key],
            _ => unreachable!("a place of a number"),
        })
    }

    #[test]
    fn no_number_of_a_recipe_may_be_negative_or_no_number() {
        let mut recipe = Recipe::default();
        (recipe.optim.clip_grad, recipe.optim.ema) = (Some(1.0), Some(0.5));
        (recipe.eval.checkpoint_steps, recipe.eval.patience) = (Some(7), Some(2));
        recipe.model.encoder = Some(StackConfig::new(32, 2, 4));
        let value = Value::try_from(recipe.resolve(60).unwrap()).unwrap();
        let mut places = Vec::new();
        numbers(&value, &[], &mut places);
        assert!(places.len() > 35, "{} numbers", places.len());
        for place in places {
            let mut changed = value.clone();
            let number = at(&mut changed, &place);
            *number = match number {
                Value::Integer(_) => Value::Integer(-1),
                _ => Value::Float(f64::NAN),
            };
            let plan = changed
                .try_into()
                .map_err(|e| e.to_string())
                .and_then(|recipe: Recipe| Plan::new(&recipe, 60).map_err(|e| crate::chain(&e)));
            assert!(plan.is_err(), "{place:?} may be out of bounds");
        }
    }
}
