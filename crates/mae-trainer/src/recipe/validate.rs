//! Bounds checks of the fields that all tasks have.

use mae_data::PixelFormat;

use super::Settings;
use crate::pixels::dtype;
use crate::{Pace, Shown, TrainerError};

/// Refuses a value that is not within its bound.
pub(crate) fn within(
    name: &'static str,
    ok: bool,
    value: impl ToString,
    bound: &str,
) -> Result<(), TrainerError> {
    match ok {
        true => Ok(()),
        false => Err(TrainerError::argument(name, value, bound)),
    }
}

impl<S> Settings<S> {
    /// Checks every value for a data set of `len` images with `channels` channels.
    ///
    /// # Errors
    /// If a value is out of bounds: names the field, its value and the bound.
    pub(crate) fn validate(&self, len: usize, channels: usize) -> Result<(), TrainerError> {
        let Self { train, data, optim, eval, .. } = self;
        if data.images != len {
            return Err(TrainerError::DataChanged { images: data.images, len });
        }
        within("epochs", train.epochs >= 1, train.epochs, "at least 1")?;
        within("accum_iter", train.accum_iter >= 1, train.accum_iter, "at least 1")?;
        within("ranks", train.ranks >= 1, train.ranks, "at least 1")?;
        within("repeats", data.repeats >= 1, data.repeats, "at least 1")?;
        within("crops_per_image", data.crops_per_image >= 1, data.crops_per_image, "at least 1")?;
        within("window", data.window != Some(0), 0, "at least 1")?;
        let each = data.repeats.saturating_mul(data.crops_per_image);
        let (batch, crops) = (train.batch_size, len.saturating_mul(each));
        let bound = match each {
            1 => format!("the data set's {len} images"),
            each => format!("the {crops} crops of an epoch, {each} of each image"),
        };
        within("batch_size", (1..=crops).contains(&batch), batch, &format!("from 1 to {bound}"))?;
        let whole = format!("a multiple of repeats, {}", data.repeats);
        within("batch_size", batch.is_multiple_of(data.repeats), batch, &whole)?;
        let (mut effective, mut name) =
            (batch.saturating_mul(train.accum_iter), "batch_size times accum_iter");
        if train.ranks > 1 {
            (effective, name) =
                (effective.saturating_mul(train.ranks), "batch_size times accum_iter times ranks");
        }
        within(name, effective <= crops, effective, &format!("at most {bound}"))?;
        within("workers", data.workers >= 1, data.workers, "at least 1")?;
        within("prefetch_batches", data.prefetch_batches >= 1, data.prefetch_batches, "at least 1")?;
        for (name, share) in [("max_bad_share", data.max_bad_share), ("erasing", data.erasing)] {
            within(name, (0.0..=1.0).contains(&share), share, "from 0 to 1")?;
        }
        let (low, high) = data.crop_scale;
        let range = 0.0 < low && low <= high && high <= 1.0;
        within("crop_scale", range, format!("{low} to {high}"), "a range within (0, 1]")?;
        let augment = data.rand_augment;
        within("rand_augment", (0.0..=10.0).contains(&augment), augment, "from 0 to 10")?;
        within("resize", data.resize != Some(0), 0, "at least 1")?;
        data.normalize.validate(channels)?;
        let pixels = data.pixels;
        let fits = pixels.channels() == channels && dtype(pixels.pixel_type()) == data.normalize.dtype();
        let bound = format!(
            "of {channels} channels and of the type of data.normalize; --mean and --std need --pixels"
        );
        within("pixels", fits, pixels, &bound)?;
        let colours = pixels == PixelFormat::Rgb8;
        for (name, value) in [("rand_augment", data.rand_augment), ("erasing", data.erasing)] {
            within(name, colours || value == 0.0, value, &format!("0 for {pixels}: it needs 8-bit RGB"))?;
        }
        Shown::new(data.normalize.clone(), eval.show.as_deref())?;

        let warmup = optim.warmup_epochs;
        let bound = format!("from 0 to the {} epochs of the run", train.epochs);
        within("warmup_epochs", (0.0..=train.epochs as f64).contains(&warmup), warmup, &bound)?;
        optim.adamw().validate()?;
        if let Some(clip) = optim.clip_grad {
            within("clip_grad", clip > 0.0 && clip.is_finite(), clip, "positive and finite")?;
        }
        if let Some(ema) = optim.ema {
            within("ema", (0.0..1.0).contains(&ema), ema, "in [0, 1)")?;
        }

        within("metric_steps", eval.metric_steps >= 1, eval.metric_steps, "at least 1")?;
        within("max_images", eval.max_images >= 2, eval.max_images, "at least 2")?;
        within("pictures", eval.pictures >= 1, eval.pictures, "at least 1")?;
        let minutes = eval.checkpoint_minutes;
        within("checkpoint_minutes", minutes >= 0.0, minutes, "at least 0")?;
        within("every_epochs", eval.every_epochs >= 1, eval.every_epochs, "at least 1")?;
        if let Some(steps) = eval.checkpoint_steps {
            within("checkpoint_steps", steps >= 1, steps, "at least 1")?;
        }
        within("keep_checkpoints", eval.keep_checkpoints >= 1, eval.keep_checkpoints, "at least 1")?;
        if let Some(patience) = eval.patience {
            within("patience", patience >= 1, patience, "at least 1")?;
        }
        Pace::new(train, data, optim, eval).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use mae_vit::StackConfig;
    use toml::Value;

    use crate::run::tests::settled;
    use crate::{PretrainRecipe, Recipe};

    #[test]
    fn values_out_of_bounds_are_refused_with_the_bound() {
        let refused = |change: &dyn Fn(&mut Recipe<PretrainRecipe>), words: [&str; 2]| {
            let mut recipe = Recipe::default();
            change(&mut recipe);
            let error = crate::chain(&settled(&recipe, 60).unwrap_err());
            assert!(words.iter().all(|w| error.contains(w)), "{error}");
        };
        refused(&|r| r.train.batch_size = Some(61), ["61", "60 images"]);
        refused(&|r| (r.train.batch_size, r.train.accum_iter) = (Some(16), 4), ["64", "60 images"]);
        refused(&|r| r.task.model.patch_size = Some(5), ["5", "32 px"]);
        refused(&|r| r.task.masking.mask_ratio = 1.0, ["1", "[0, 1)"]);
        refused(&|r| r.task.masking.mask_ratio = 0.99, ["0.99", "64 patches"]);
        refused(&|r| r.task.masking.mask_ratio = 0.0, ["mask_ratio is 0", "64 patches"]);
        refused(&|r| r.data.crop_scale = (0.5, 0.2), ["0.5 to 0.2", "(0, 1]"]);
        refused(&|r| r.optim.warmup_epochs = Some(101.0), ["101", "100 epochs"]);
        refused(&|r| r.optim.betas.1 = 1.0, ["beta", "[0, 1)"]);
        refused(&|r| r.train.epochs = 0, ["epochs is 0", "at least 1"]);
        refused(&|r| r.optim.base_lr = 0.0, ["base_lr", "0"]);
        refused(&|r| r.optim.min_lr = 1.0, ["min_lr is 1", "peak"]);
        refused(&|r| r.optim.clip_grad = Some(-1.0), ["clip_grad is -1", "positive"]);
        refused(&|r| r.optim.ema = Some(1.0), ["ema is 1", "[0, 1)"]);
        refused(&|r| r.data.repeats = 0, ["repeats is 0", "at least 1"]);
        refused(&|r| (r.data.repeats, r.train.batch_size) = (3, Some(16)), ["16", "multiple of repeats, 3"]);
        refused(&|r| (r.data.repeats, r.train.batch_size) = (2, Some(122)), ["122", "120 crops"]);
        refused(&|r| r.data.rand_augment = 11.0, ["rand_augment is 11", "from 0 to 10"]);
        refused(&|r| r.eval.patience = Some(0), ["patience is 0", "at least 1"]);
        refused(&|r| r.eval.every_epochs = Some(0), ["every_epochs is 0", "at least 1"]);
        refused(&|r| r.eval.checkpoint_steps = Some(0), ["checkpoint_steps is 0", "at least 1"]);
        refused(&|r| r.eval.keep_checkpoints = 0, ["keep_checkpoints is 0", "at least 1"]);
        refused(&|r| r.task.knn.k = 0, ["knn.k is 0", "at least 1"]);
        refused(&|r| r.task.model.encoder = Some(StackConfig::new(30, 2, 4)), ["30", "4"]);
        refused(&|r| r.task.model.decoder = Some(StackConfig::new(32, 0, 4)), ["depth", "0"]);
    }

    /// Collects the paths of all numbers in a recipe.
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
        let mut recipe = Recipe::<PretrainRecipe>::default();
        (recipe.optim.clip_grad, recipe.optim.ema) = (Some(1.0), Some(0.5));
        (recipe.eval.checkpoint_steps, recipe.eval.patience) = (Some(7), Some(2));
        recipe.task.model.encoder = Some(StackConfig::new(32, 2, 4));
        let value: Value =
            settled(&recipe, 60).unwrap().to_toml("pretrain").parse::<toml::Table>().unwrap().into();
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
            let text = toml::to_string(&changed).unwrap();
            let refused = Recipe::<PretrainRecipe>::parse(&text, "recipe.toml".as_ref())
                .and_then(|recipe| settled(&recipe, 60));
            assert!(refused.is_err(), "{place:?} may be out of bounds");
        }
    }
}
