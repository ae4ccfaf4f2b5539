//! Tests that pre-training, probes and fine-tuning compute the recorded losses and weights of four short runs.
//!
//! The exact bits depend on the width of the processor's vectors, and are recorded for AVX-512.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use mae_data::{ImageSource, Shapes};
use mae_trainer::{
    DataRecipe, Finetune, FinetuneRecipe, Pretrain, PretrainRecipe, Probe, ProbeRecipe, Recipe, Run, Task,
    TaskRecipe, Trainer, read_evaluations, read_records,
};

/// The recorded results of a run.
struct Digest {
    losses: &'static [f64],
    /// The last evaluation's loss on held-out images.
    val_loss: f64,
    /// Another metric of that evaluation.
    metric: (&'static str, f64),
    /// The CRC-32 of the last checkpoint's weights, computed with AVX-512.
    weights: u32,
}

/// Writes built-in shapes as a folder of images, a sub-folder for each class.
fn write_shapes(folder: &Path, seed: u64, count: usize) {
    let shapes = Shapes::new(seed, count, (16, 16)).unwrap();
    for i in 0..count {
        let class = folder.join(&shapes.class_names()[shapes.label(i).unwrap() as usize]);
        let pixels = shapes.load(i).unwrap().into_u8().unwrap().into_data();
        std::fs::create_dir_all(&class).unwrap();
        image::RgbImage::from_raw(16, 16, pixels).unwrap().save(class.join(format!("{i:03}.png"))).unwrap();
    }
}

/// A recipe of three epochs, with two batches of eight images per update.
fn short<S: TaskRecipe>(at: &Path) -> Recipe<S> {
    let mut recipe = Recipe::default();
    (recipe.train.epochs, recipe.train.batch_size, recipe.train.accum_iter) = (3, Some(8), 2);
    let (path, val) = (Some(at.join("train")), Some(at.join("val")));
    recipe.data = DataRecipe { path, val, ..recipe.data };
    recipe
}

/// Trains a run to its end and compares it with the digest. Returns the file of its last checkpoint's weights.
fn train<T: Task>(recipe: &Recipe<T::Recipe>, folder: PathBuf, digest: &Digest) -> PathBuf {
    let (run, device) = (Run::<T>::create(recipe, &folder).unwrap(), Device::flex());
    let state = run.latest_state(&device).unwrap().state;
    let state = Trainer::new(&run, &device).train(state).unwrap();

    let losses: Vec<f64> = read_records(run.path("metrics.jsonl")).unwrap().iter().map(|r| r.loss).collect();
    let evaluation = read_evaluations(run.path("evaluations.jsonl")).unwrap().pop().unwrap();
    let metric = evaluation.metrics[digest.metric.0];
    let weights = run.checkpoint(state.step).join("model.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let found = (losses, evaluation.val_loss.unwrap(), metric, crc32fast::hash(&bytes[8 + header..]));
    let what = format!("{}: {found:?}", <T::Recipe as TaskRecipe>::TASK);
    let near = |ours: f64, recorded: f64| (ours / recorded - 1.0).abs() < 1e-4;
    assert_eq!(found.0.len(), digest.losses.len(), "{what}");
    assert!(found.0.iter().zip(digest.losses).all(|(ours, recorded)| near(*ours, *recorded)), "{what}");
    assert!(near(found.1, digest.val_loss), "{what}");
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx512f") {
        assert_eq!(
            found,
            (digest.losses.to_vec(), digest.val_loss, digest.metric.1, digest.weights),
            "{what}"
        );
    }
    weights
}

#[test]
fn runs_are_what_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write_shapes(&at.join("train"), 0, 40);
    write_shapes(&at.join("val"), 1, 20);

    let mut recipe: Recipe<PretrainRecipe> = short(at);
    recipe.data.drop_last = false;
    (recipe.task.model.image_size, recipe.task.model.patch_size) = (Some((16, 16)), Some(4));
    (recipe.optim.clip_grad, recipe.optim.ema) = (Some(1.0), Some(0.9));
    let digest = Digest {
        losses: &[
            2.3080687522888184,
            2.2886582612991333,
            2.083329439163208,
            1.9888381361961365,
            1.9289811849594116,
            1.9126770496368408,
            1.8805241584777832,
            1.7601447701454163,
            1.7927460074424744,
        ],
        val_loss: 1.8812514543533325,
        metric: ("knn", 0.3),
        weights: 1614048076,
    };
    let weights = train::<Pretrain>(&recipe, at.join("pretrain"), &digest);

    let probe = Digest {
        losses: &[
            2.0691428184509277,
            2.0717382431030273,
            2.085042715072632,
            2.1054139137268066,
            2.0579209327697754,
            2.0776097774505615,
        ],
        val_loss: 2.08569862372519,
        metric: ("top5", 0.65),
        weights: 3573913370,
    };
    let cached = Digest {
        losses: &[
            2.0966567993164063,
            2.107436180114746,
            2.084338665008545,
            2.1180989742279053,
            2.0831799507141113,
            2.0946223735809326,
        ],
        val_loss: 2.083986255437058,
        weights: 1226651163,
        ..probe
    };
    for (cached, digest) in [(false, probe), (true, cached)] {
        let mut recipe: Recipe<ProbeRecipe> = short(at);
        (recipe.task.model.weights, recipe.train.seed, recipe.task.probe.cached) =
            (weights.clone(), 5, cached);
        recipe.optim.base_lr = 0.1; // the default when they were recorded
        train::<Probe>(&recipe, at.join(format!("probe-{cached}")), &digest);
    }

    let mut recipe: Recipe<FinetuneRecipe> = short(at);
    (recipe.task.model.weights, recipe.train.seed, recipe.optim.clip_grad) = (weights, 5, Some(2.0));
    (recipe.data.rand_augment, recipe.data.erasing, recipe.task.finetune.drop_path) = (9.0, 0.25, 0.1);
    let mix = &mut recipe.task.mix;
    (mix.mixup, mix.cutmix, mix.label_smoothing) = (0.8, 1.0, 0.1);
    let digest = Digest {
        losses: &[
            2.0794626474380493,
            2.079448938369751,
            2.0792253017425537,
            2.079460859298706,
            2.079047918319702,
            2.0807501077651978,
        ],
        val_loss: 2.0790050306412744,
        metric: ("top5", 0.75),
        weights: 608817640,
    };
    train::<Finetune>(&recipe, at.join("finetune"), &digest);
}
