//! Tests of the fine-tuning transform: the distributions of its draws, and equal results alone and in a loader.

use std::collections::BTreeMap;
use std::sync::Arc;

use mae_data::{
    AnyImage, AugmentOp, FinetuneTransform, FolderOptions, Image, ImageFolder, ImageSource, Loader,
    LoaderConfig, RandAugment, RandomErasing, RandomResizedCrop, SampleRng, TrainTransform, Transform, View,
    sample_rng,
};

const MEAN: [f64; 3] = [0.485, 0.456, 0.406];
const STD: [f64; 3] = [0.229, 0.224, 0.225];
const FILL: [u8; 3] = [124, 116, 104];

fn rand_augment() -> RandAugment {
    RandAugment::new(9.0, 0.5, 2, FILL).unwrap()
}

fn noise(height: usize, width: usize, channels: usize) -> Image {
    let bytes = (0..height * width * channels).map(|at| (at * 7919 % 251) as u8);
    Image::new(height, width, channels, bytes.collect()).unwrap()
}

fn chi_square(counts: &[usize], shares: &[f64]) -> f64 {
    let all = counts.iter().sum::<usize>() as f64;
    counts.iter().zip(shares).map(|(&n, share)| (n as f64 - all * share).powi(2) / (all * share)).sum()
}

#[test]
fn operations_are_equally_frequent_and_each_is_applied_half_of_the_time() {
    const IMAGES: usize = 30_000;
    let drawn: Vec<Vec<AugmentOp>> =
        (0..IMAGES).map(|i| rand_augment().draw(&mut sample_rng(3, 0, i))).collect();

    let mut layers = [0; 3];
    drawn.iter().for_each(|ops| layers[ops.len()] += 1);
    // The 99.9th percentile of chi-square with 2 degrees of freedom.
    assert!(chi_square(&layers, &[0.25, 0.5, 0.25]) < 13.82, "{layers:?}");

    let name = |op: &AugmentOp| format!("{op:?}").split('(').next().unwrap().to_owned();
    let mut counts = BTreeMap::<String, usize>::new();
    drawn.iter().flatten().for_each(|op| *counts.entry(name(op)).or_default() += 1);
    let values: Vec<usize> = counts.values().copied().collect();
    assert_eq!(values.len(), 15);
    // The same percentile with 14 degrees of freedom.
    assert!(chi_square(&values, &[1.0 / 15.0; 15]) < 36.12, "{counts:?}");

    // Operations are drawn with replacement: one in fifteen pairs repeats the same operation.
    let both = drawn.iter().filter(|ops| ops.len() == 2);
    let (same, other): (Vec<_>, Vec<_>) = both.partition(|ops| name(&ops[0]) == name(&ops[1]));
    // The same percentile with 1 degree of freedom.
    assert!(chi_square(&[same.len(), other.len()], &[1.0 / 15.0, 14.0 / 15.0]) < 10.83, "{}", same.len());
}

#[test]
fn magnitudes_are_normal_and_cut_off_and_either_sign_is_as_likely() {
    // Bins of one standard deviation. The first also has everything below it, the last the values clipped to 10.
    const SHARES: [f64; 6] = [0.02275, 0.13591, 0.34134, 0.34134, 0.13591, 0.02275];
    let one = RandAugment::new(9.0, 0.5, 1, FILL).unwrap();
    let (mut bins, mut signs) = ([0; 6], [0; 2]);
    for i in 0..200_000 {
        if let [AugmentOp::Rotate(degrees)] = one.draw(&mut sample_rng(4, 0, i))[..] {
            let magnitude = degrees.abs() / 3.0;
            assert!((0.0..=10.0).contains(&magnitude));
            bins[((magnitude * 2.0).floor() as usize).clamp(15, 20) - 15] += 1;
            signs[usize::from(degrees < 0.0)] += 1;
        }
    }
    assert!(bins.iter().sum::<usize>() > 6000);
    // The 99.9th percentiles with 5 and with 1 degrees of freedom.
    assert!(chi_square(&bins, &SHARES) < 20.52, "{bins:?}");
    assert!(chi_square(&signs, &[0.5; 2]) < 10.83, "{signs:?}");

    let certain = RandAugment::new(7.0, 0.0, 1, FILL).unwrap();
    for op in (0..200).flat_map(|i| certain.draw(&mut sample_rng(4, 0, i))) {
        assert!(AugmentOp::all(7.0, false).contains(&op) || AugmentOp::all(7.0, true).contains(&op));
    }
}

#[test]
fn what_is_done_to_an_image_is_a_function_of_the_generator() {
    let image = noise(19, 23, 3);
    let once = |i| rand_augment().apply(image.clone(), &mut sample_rng(5, 0, i));
    let images: Vec<Image> = (0..64).map(once).collect();
    assert!(images == (0..64).map(once).collect::<Vec<_>>());
    // A quarter of the images stay unchanged, and few of the others are equal.
    let distinct = images.iter().enumerate().filter(|(i, image)| !images[..*i].contains(image)).count();
    assert!(distinct > 32, "{distinct}");
}

#[test]
fn images_of_any_channels_keep_their_shape() {
    let erasing = RandomErasing::new(1.0, MEAN, STD).unwrap();
    for (height, width, channels) in [(1, 1, 1), (1, 9, 3), (9, 1, 2), (2, 2, 4), (3, 3, 5), (16, 11, 4)] {
        let image = noise(height, width, channels);
        for (magnitude, negative) in [(0.0, false), (10.0, false), (10.0, true)] {
            for op in AugmentOp::all(magnitude, negative) {
                let changed = op.apply(image.clone(), FILL);
                assert_eq!((changed.height(), changed.width()), (height, width), "{op:?}");
                assert_eq!(changed.channels(), channels, "{op:?}");
            }
        }
        assert_eq!(erasing.apply(image.clone(), &mut sample_rng(0, 0, 0)).channels(), channels);
    }
    // Equal channels give the same result as a single one.
    let grey = noise(8, 9, 1);
    for channels in [3, 5] {
        let several = |image: &Image| {
            let data = image.data().iter().flat_map(|&value| vec![value; channels]).collect();
            Image::new(8, 9, channels, data).unwrap()
        };
        for op in AugmentOp::all(9.0, true) {
            let one = op.apply(grey.clone(), [77; 3]);
            assert!(several(&one) == op.apply(several(&grey), [77; 3]), "{op:?} of {channels} channels");
        }
    }
}

#[test]
fn arguments_beyond_any_magnitude_do_no_harm() {
    use AugmentOp::*;
    let image = noise(6, 7, 3);
    for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e300, f64::MIN_POSITIVE] {
        for op in [Rotate, Color, Contrast, Brightness, Sharpness, ShearX, ShearY, TranslateXRel] {
            let _ = op(odd).apply(image.clone(), FILL);
        }
    }
    assert_eq!(Posterize(u32::MAX).apply(image.clone(), FILL), image);
    assert_eq!(Solarize(u32::MAX).apply(image.clone(), FILL), image);
    assert!(Posterize(0).apply(image.clone(), FILL).data().iter().all(|&byte| byte == 0));
    assert!(SolarizeAdd(u32::MAX).apply(image, FILL).data().iter().all(|&byte| byte >= 128));
}

#[test]
fn erasing_puts_noise_into_one_rectangle_of_as_many_images_as_it_says() {
    const IMAGES: usize = 8000;
    let (height, width) = (40, 56);
    let erasing = RandomErasing::new(0.25, MEAN, STD).unwrap();
    let black = Image::new(height, width, 3, vec![0; height * width * 3]).unwrap();
    let (mut erased, mut sums, mut values) = (0usize, [[0.0; 2]; 3], 0.0);
    for i in 0..IMAGES {
        let image = erasing.apply(black.clone(), &mut sample_rng(6, 0, i));
        let Some(crop) = erasing.draw(height, width, &mut sample_rng(6, 0, i)) else {
            assert_eq!(image, black);
            continue;
        };
        erased += 1;
        // Rounding changes a side by at most half a pixel.
        let (h, w) = (crop.height as f64, crop.width as f64);
        let pixels = (height * width) as f64;
        assert!((h + 0.5) * (w + 0.5) >= 0.02 * pixels && (h - 0.5) * (w - 0.5) <= pixels / 3.0, "{crop:?}");
        assert!((h + 0.5) / (w - 0.5) >= 0.3 && (h - 0.5) / (w + 0.5) <= 1.0 / 0.3, "{crop:?}");
        for (at, pixel) in image.data().chunks(3).enumerate() {
            let (row, column) = (at / width, at % width);
            let within = (crop.top..crop.top + crop.height).contains(&row)
                && (crop.left..crop.left + crop.width).contains(&column);
            if !within {
                assert_eq!(pixel, [0; 3]);
                continue;
            }
            values += 1.0;
            for (sums, &byte) in sums.iter_mut().zip(pixel) {
                let value = f64::from(byte) / 255.0;
                *sums = [sums[0] + value, sums[1] + value * value];
            }
        }
    }
    // The 99.9th percentile of chi-square with 1 degree of freedom.
    let counts = [erased, IMAGES - erased];
    assert!(chi_square(&counts, &[0.25, 0.75]) < 10.83, "{counts:?}");
    for (sums, (mean, std)) in sums.into_iter().zip(MEAN.into_iter().zip(STD)) {
        let our_mean = sums[0] / values;
        let our_std = (sums[1] / values - our_mean * our_mean).sqrt();
        // Clipping at black and white pulls the mean towards the middle and reduces the deviation.
        assert!((our_mean - mean).abs() < 0.005, "{our_mean} {mean}");
        assert!((0.94..1.0).contains(&(our_std / std)), "{our_std} {std}");
    }
}

/// A folder of 12 images of 61 by 97 pixels, and the guard that deletes it.
fn folder() -> (tempfile::TempDir, Arc<ImageFolder>) {
    let folder = tempfile::tempdir().unwrap();
    for i in 0..12u8 {
        let pixel = |x: u32, y: u32| image::Rgb([(x * 5) as u8 ^ i, (y * 3) as u8, (x * y) as u8 ^ i]);
        let picture = image::RgbImage::from_fn(97, 61, pixel);
        picture.save(folder.path().join(format!("{i}.{}", ["jpg", "png"][usize::from(i % 2)]))).unwrap();
    }
    let images = ImageFolder::open(folder.path(), FolderOptions::default()).unwrap();
    (folder, Arc::new(images))
}

fn train() -> TrainTransform {
    TrainTransform::new((24, 32), RandomResizedCrop::default()).unwrap()
}

fn config() -> LoaderConfig {
    LoaderConfig { seed: 8, batch_size: 4, workers: 2, repeats: 2, ..LoaderConfig::default() }
}

#[test]
fn a_loader_decodes_what_is_seen_and_makes_the_same_of_it() {
    let (_folder, images) = folder();
    let erasing = || RandomErasing::new(0.5, MEAN, STD).unwrap();
    let plain = FinetuneTransform::new(train(), None, None);
    let variants = [
        plain.clone(),
        FinetuneTransform::new(train(), Some(rand_augment()), None),
        FinetuneTransform::new(train(), None, Some(erasing())),
        FinetuneTransform::new(train(), Some(rand_augment()), Some(erasing())),
    ];
    for transform in variants {
        let loader = Loader::new(images.clone(), Arc::new(transform.clone()), config()).unwrap();
        let (mut samples, mut changed) = (0, 0);
        for batch in loader.batches(1, (0..12).collect(), 0).unwrap() {
            let batch = batch.unwrap();
            let places = batch.images.chunks(3 * 24 * 32).zip(batch.indices.iter().zip(&batch.passes));
            for (sample, (&index, &pass)) in places {
                let by = |transform: &FinetuneTransform| -> Vec<u8> {
                    let image = images.load(index).unwrap();
                    let image = transform.apply(image, &mut sample_rng(8, pass, index)).into_u8().unwrap();
                    (0..3).flat_map(|channel| image.data()[channel..].iter().step_by(3).copied()).collect()
                };
                assert!(sample == by(&transform), "image {index} in pass {pass}");
                samples += 1;
                changed += usize::from(sample != by(&plain));
            }
        }
        assert_eq!(samples, 24);
        assert_eq!(changed > 4, transform.finishes(), "{changed}");
    }
}

#[test]
fn a_finish_that_makes_another_size_is_an_error() {
    struct Grows(TrainTransform);

    impl Transform for Grows {
        fn apply(&self, image: AnyImage, rng: &mut SampleRng) -> AnyImage {
            let image = self.0.apply(image, rng);
            self.finish(image, rng)
        }

        fn output_size(&self) -> (usize, usize) {
            self.0.output_size()
        }

        fn view(&self, size: (usize, usize), rng: &mut SampleRng) -> Option<View> {
            self.0.view(size, rng)
        }

        fn finishes(&self) -> bool {
            true
        }

        fn finish(&self, image: AnyImage, _: &mut SampleRng) -> AnyImage {
            noise(image.height() + 1, image.width(), 3).into()
        }
    }

    let (_folder, images) = folder();
    let loader = Loader::new(images, Arc::new(Grows(train())), config()).unwrap();
    let message = loader.batches(0, (0..12).collect(), 0).unwrap().next().unwrap().unwrap_err().to_string();
    assert!(
        message
            .ends_with("has the shape [3, 25, 32] (channels, height, width), but its batch has [3, 24, 32]"),
        "{message}"
    );
}

#[test]
fn arguments_outside_their_bounds_are_refused() {
    let rand_augment = |magnitude, std, layers| RandAugment::new(magnitude, std, layers, FILL);
    assert!(rand_augment(0.0, 0.0, 1).is_ok() && rand_augment(10.0, 100.0, 9).is_ok());
    let refusals = [
        (rand_augment(10.5, 0.5, 2), "RandAugment's magnitude is 10.5, but must be 0 to 10"),
        (rand_augment(-1.0, 0.5, 2), "RandAugment's magnitude is -1, but must be 0 to 10"),
        (rand_augment(f64::NAN, 0.5, 2), "RandAugment's magnitude is NaN, but must be 0 to 10"),
        (
            rand_augment(9.0, -0.5, 2),
            "RandAugment's deviation of the magnitude is -0.5, but must be finite and at least 0",
        ),
        (
            rand_augment(9.0, f64::INFINITY, 2),
            "RandAugment's deviation of the magnitude is inf, but must be finite and at least 0",
        ),
        (rand_augment(9.0, 0.5, 0), "RandAugment's number of layers is 0, but must be at least 1"),
    ];
    for (refused, message) in refusals {
        assert_eq!(refused.unwrap_err().to_string(), message);
    }
    let erasing = |probability, mean, std| RandomErasing::new(probability, [mean; 3], [std; 3]);
    assert!(erasing(0.0, 0.0, 0.0).is_ok() && erasing(1.0, 1.0, 1.0).is_ok());
    let refusals = [
        (erasing(1.01, 0.5, 0.2), "erasing's probability is 1.01, but must be 0 to 1"),
        (erasing(f64::NAN, 0.5, 0.2), "erasing's probability is NaN, but must be 0 to 1"),
        (erasing(0.25, 124.0, 0.2), "erasing's mean is 124, but must be 0 to 1"),
        (erasing(0.25, 0.5, -0.2), "erasing's deviation is -0.2, but must be 0 to 1"),
    ];
    for (refused, message) in refusals {
        assert_eq!(refused.unwrap_err().to_string(), message);
    }
}
