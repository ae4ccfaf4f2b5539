//! The loader's batches depend only on its inputs, and it makes no more of them ahead of time than it states.

mod numbers;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread::sleep;
use std::time::{Duration, Instant};

use mae_data::{
    AnyImage, Batch, DataError, DistributedSampler, ImageSource, Loader, LoaderConfig, PixelFormat,
    PixelType, SampleRng, Transform, sample_rng,
};
use numbers::{Noise, Numbers, SIZE, all, config, loader, upto};
use proptest::prelude::*;

const MS: Duration = Duration::from_millis(1);

/// A source that takes longer for some images than for others.
fn uneven(len: usize) -> Numbers {
    Numbers::new(len, |index| {
        sleep(MS * (index * 7 % 5) as u32);
        Ok(())
    })
}

#[test]
fn a_batch_is_its_samples_one_by_one() {
    let order = DistributedSampler::new(11, 0, 0, 1).unwrap().indices(0);
    let batches =
        all(&loader(Numbers::fine(11), LoaderConfig { drop_last: false, ..config() }), order.clone(), 0);
    assert_eq!(batches.iter().map(|batch| batch.shape[0]).collect::<Vec<_>>(), [4, 4, 3]);
    assert!(batches.iter().all(|batch| batch.shape[1..] == [3, SIZE.0, SIZE.1]));
    let indices: Vec<usize> = batches.iter().flat_map(|batch| batch.indices.clone()).collect();
    assert_eq!(indices, order);

    for batch in batches {
        let labels: Vec<u32> = batch.indices.iter().map(|index| *index as u32 % 10).collect();
        assert_eq!(batch.labels, Some(labels));
        let mut expected = Vec::new();
        for index in batch.indices {
            let image = Numbers::fine(11).load(index).unwrap();
            let image = Noise.apply(image, &mut sample_rng(9, 5, index)).into_u8().unwrap();
            for channel in 0..3 {
                expected.extend(image.data().chunks(3).map(|pixel| pixel[channel]));
            }
        }
        assert_eq!(batch.images, expected);
    }
}

#[test]
fn labels_need_every_image_to_have_one() {
    let source = Numbers { labelled: |index| index != 5, ..Numbers::fine(12) };
    let labels: Vec<_> =
        all(&loader(source, config()), upto(12), 0).into_iter().map(|batch| batch.labels).collect();
    assert_eq!(labels, [Some(vec![0, 1, 2, 3]), None, Some(vec![8, 9, 0, 1])]);
}

#[test]
fn the_number_of_workers_changes_nothing() {
    let batches = |workers, prefetch_batches| {
        let config = LoaderConfig { workers, prefetch_batches, ..config() };
        all(&loader(uneven(50), config), upto(50), 0)
    };
    let one = batches(1, 1);
    assert_eq!(one.len(), 12);
    for (workers, prefetch_batches) in [(4, 1), (4, 3), (9, 20)] {
        assert!(
            one == batches(workers, prefetch_batches),
            "{workers} workers, {prefetch_batches} batches ahead"
        );
    }
}

#[test]
fn a_seed_and_an_epoch_change_everything() {
    let first = |seed, epoch| {
        let loader = loader(Numbers::fine(4), LoaderConfig { seed, ..config() });
        loader.batches(epoch, upto(4), 0).unwrap().next().unwrap().unwrap()
    };
    assert_eq!(first(1, 2), first(1, 2));
    assert_ne!(first(1, 2).images, first(1, 3).images);
    assert_ne!(first(1, 2).images, first(2, 2).images);
}

#[test]
fn repeated_samples_are_those_of_as_many_passes_from_one_decoding_each() {
    let loads = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&loads);
    let source = Numbers::new(11, move |_| {
        count.fetch_add(1, SeqCst);
        Ok(())
    });
    let samples = |batches: Vec<Batch>| {
        let mut samples = Vec::new();
        for batch in batches {
            let bytes = batch.images.chunks(3 * SIZE.0 * SIZE.1).map(<[u8]>::to_vec);
            samples.extend(batch.passes.into_iter().zip(batch.indices).zip(bytes));
        }
        samples.sort();
        samples
    };
    let repeating = LoaderConfig { batch_size: 6, repeats: 3, drop_last: false, ..config() };
    let repeated = all(&loader(source, repeating), upto(11), 0);
    assert_eq!(repeated.iter().map(|batch| batch.shape[0]).collect::<Vec<_>>(), [6, 6, 6, 6, 6, 3]);
    assert_eq!(repeated[0].indices, [0, 0, 0, 1, 1, 1]);
    assert_eq!(repeated[0].labels, Some(vec![0, 0, 0, 1, 1, 1]));
    assert_eq!(loads.load(SeqCst), 11);

    let once = loader(Numbers::fine(11), LoaderConfig { drop_last: false, ..config() });
    let passes = (5 * 3..6 * 3).flat_map(|pass| once.batches(pass, upto(11), 0).unwrap());
    assert_eq!(samples(repeated), samples(passes.collect::<Result<_, _>>().unwrap()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn an_epoch_continues_from_any_batch(len in 1..60usize, batch_size in 1..9usize, workers in 1..5usize, start: prop::sample::Index) {
        let config = LoaderConfig { batch_size, workers, drop_last: false, ..config() };
        let loader = loader(Numbers::fine(len), config);
        let order = DistributedSampler::new(len, 1, 0, 1).unwrap().indices(3);
        let whole = all(&loader, order.clone(), 0);
        let start = start.index(whole.len() + 1);
        prop_assert!(whole[start..] == all(&loader, order, start));
    }
}

#[test]
fn batches_before_the_start_are_not_loaded() {
    let loads = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&loads);
    let source = Numbers::new(400, move |index| {
        assert!(index >= 360);
        count.fetch_add(1, SeqCst);
        Ok(())
    });
    assert_eq!(all(&loader(source, config()), upto(400), 90).len(), 10);
    assert_eq!(loads.load(SeqCst), 40);
}

/// Counts the decoded images that are alive, and the samples made so far.
#[derive(Default)]
struct Gauge {
    decoded: AtomicUsize,
    most_decoded: AtomicUsize,
    transformed: AtomicUsize,
}

struct Gauged(Arc<Gauge>);

impl Transform for Gauged {
    fn apply(&self, image: AnyImage, rng: &mut SampleRng) -> AnyImage {
        sleep(MS / 4);
        self.0.transformed.fetch_add(1, SeqCst);
        self.0.decoded.fetch_sub(1, SeqCst);
        Noise.apply(image, rng)
    }

    fn output_size(&self) -> (usize, usize) {
        SIZE
    }
}

#[test]
fn memory_is_bounded_as_stated_under_a_slow_consumer() {
    for (workers, prefetch_batches) in [(1, 1), (3, 2), (8, 5)] {
        let gauge = Arc::new(Gauge::default());
        let counted = Arc::clone(&gauge);
        let source = Numbers::new(120, move |_| {
            counted.most_decoded.fetch_max(counted.decoded.fetch_add(1, SeqCst) + 1, SeqCst);
            Ok(())
        });
        let config = LoaderConfig { workers, prefetch_batches, ..config() };
        let loader = Loader::new(Arc::new(source), Arc::new(Gauged(Arc::clone(&gauge))), config).unwrap();
        let batches = loader.batches(0, upto(120), 0).unwrap();
        for (taken, batch) in (1..).zip(batches) {
            batch.unwrap();
            // Long enough for workers without a bound to run far ahead.
            sleep(10 * MS);
            let ahead = || gauge.transformed.load(SeqCst) - 4 * taken;
            assert!(ahead() <= 4 * prefetch_batches, "{} samples ahead of batch {taken}", ahead());
            // The loader makes full use of the bound.
            let deadline = Instant::now() + 5000 * MS;
            while taken == 10 && ahead() < 4 * prefetch_batches {
                assert!(Instant::now() < deadline, "only {} samples ahead", ahead());
                sleep(MS);
            }
        }
        assert!(gauge.most_decoded.load(SeqCst) <= workers);
    }
}

#[test]
fn workers_share_one_batch() {
    let (loading, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    let source = Numbers::new(4, move |_| {
        most.fetch_max(loading.fetch_add(1, SeqCst) + 1, SeqCst);
        let deadline = Instant::now() + 5000 * MS;
        while most.load(SeqCst) < 4 && Instant::now() < deadline {
            sleep(MS);
        }
        loading.fetch_sub(1, SeqCst);
        Ok(())
    });
    all(&loader(source, LoaderConfig { workers: 4, prefetch_batches: 1, ..config() }), upto(4), 0);
    assert_eq!(seen.load(SeqCst), 4);
}

#[test]
fn dropping_an_epoch_ends_its_workers_at_once() {
    let loads = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&loads);
    let source = Numbers::new(4000, move |_| {
        count.fetch_add(1, SeqCst);
        sleep(5 * MS);
        Ok(())
    });
    let (source, workers) = (Arc::new(source), 3);
    let config = LoaderConfig { workers, prefetch_batches: 500, ..config() };
    let loader = Loader::new(source.clone(), Arc::new(Noise), config).unwrap();
    let mut batches = loader.batches(0, upto(4000), 0).unwrap();
    batches.next().unwrap().unwrap();
    drop(batches);
    // Far fewer than the 2000 that were requested, which would take 3 seconds.
    assert!(loads.load(SeqCst) < 400, "{} loads", loads.load(SeqCst));
    drop(loader);
    assert_eq!(Arc::strong_count(&source), 1, "a worker still holds the data set");
}

#[test]
fn waiting_tells_a_slow_loader_from_a_slow_consumer() {
    let slow = Numbers::new(24, |_| {
        sleep(4 * MS);
        Ok(())
    });
    let mut batches = loader(slow, config()).batches(0, upto(24), 0).unwrap();
    assert_eq!(batches.waiting_share(), 0.0);
    batches.by_ref().for_each(|batch| drop(batch.unwrap()));
    assert!(batches.waiting() >= 24 * MS, "{:?}", batches.waiting());
    assert!(batches.waiting_share() > 0.8, "{}", batches.waiting_share());

    let mut batches = loader(Numbers::fine(24), config()).batches(0, upto(24), 0).unwrap();
    while batches.next().is_some() {
        sleep(20 * MS);
    }
    assert!(batches.waiting_share() < 0.5, "{}", batches.waiting_share());
}

fn bytes(channels: usize) -> PixelFormat {
    PixelFormat::Stored { pixel_type: PixelType::U8, channels }
}

#[test]
fn samples_of_another_shape_are_an_error() {
    let source = Numbers { channels: 4, ..Numbers::fine(8) };
    let mut batches = loader(source, config()).batches(0, upto(8), 0).unwrap();
    assert_eq!(
        batches.next().unwrap().unwrap_err().to_string(),
        "the sample numbers/000 has the shape [4, 2, 3] (channels, height, width), but its batch has [3, 2, 3]"
    );
    assert!(batches.next().is_none());
    let source = Numbers { channels: 4, pixels: bytes(4), ..Numbers::fine(8) };
    assert_eq!(all(&loader(source, config()), upto(8), 0)[0].shape, [4, 4, 2, 3]);
}

#[test]
fn what_cannot_work_is_refused() {
    let new = |config| Loader::new(Arc::new(Numbers::fine(10)), Arc::new(Noise), config).map(|_| ());
    let message = |config| new(config).unwrap_err().to_string();
    let base = config;
    assert_eq!(message(LoaderConfig { batch_size: 0, ..base() }), "batch_size is 0, but must be at least 1");
    assert_eq!(message(LoaderConfig { workers: 0, ..base() }), "workers is 0, but must be at least 1");
    assert_eq!(
        message(LoaderConfig { prefetch_batches: 0, ..base() }),
        "prefetch_batches is 0, but must be at least 1"
    );
    let none = Arc::new(Numbers { pixels: bytes(0), ..Numbers::fine(10) });
    let refused = Loader::new(none, Arc::new(Noise), base()).map(|_| ()).unwrap_err();
    assert_eq!(refused.to_string(), "channels is 0, but must be at least 1");
    assert_eq!(message(LoaderConfig { repeats: 0, ..base() }), "repeats is 0, but must be at least 1");
    assert_eq!(
        message(LoaderConfig { repeats: 3, ..base() }),
        "batch_size is 4, but must be a multiple of the 3 samples of each image"
    );
    assert!(
        message(LoaderConfig { batch_size: usize::MAX / 4, ..base() })
            .contains("[3, 2, 3] values of u8 per image")
    );
    assert_eq!(
        message(LoaderConfig { batch_size: 11, ..base() }),
        "a batch of 11 is larger than the data set of 10 images"
    );
    assert!(new(LoaderConfig { batch_size: 11, drop_last: false, ..base() }).is_ok());

    let loader = loader(Numbers::fine(10), config());
    let epoch = |indices, start_batch| loader.batches(0, indices, start_batch).map(|_| ());
    assert_eq!(
        epoch(upto(3), 0).unwrap_err().to_string(),
        "a batch of 4 is larger than the data set of 3 images"
    );
    assert_eq!(
        epoch(vec![0, 1, 2, 10], 0).unwrap_err().to_string(),
        "there is no image 10: the data set has 10"
    );
    assert_eq!(
        epoch(upto(10), 3).unwrap_err().to_string(),
        "start_batch is 3, but must be at most 2, the batches of the epoch"
    );
    assert!(matches!(epoch(Vec::new(), 0), Err(DataError::BatchLargerThanSet { batch_size: 4, len: 0 })));
}
