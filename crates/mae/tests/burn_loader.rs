//! Compares `BurnLoader` with the loader that it wraps: batches, consecutive epochs, slices, and errors.

use std::collections::BTreeSet;
use std::sync::Arc;

use mae::burn::data::dataloader::DataLoader;
use mae::burn::tensor::Device;
use mae::data::{
    Batch, BurnLoader, EvalTransform, FolderOptions, ImageSource, Loader, LoaderConfig, Shapes, open_images,
};

const SIZE: (usize, usize) = (8, 8);

fn loader(images: Arc<dyn ImageSource>, config: LoaderConfig) -> Loader {
    Loader::new(images, Arc::new(EvalTransform::new(SIZE, None).unwrap()), config).unwrap()
}

fn shapes(len: usize, config: LoaderConfig) -> (Loader, BurnLoader<Batch>) {
    let loader = loader(Arc::new(Shapes::new(0, len, SIZE).unwrap()), config);
    (loader.clone(), BurnLoader::new(loader, &Device::flex(), |batch, _| batch))
}

fn batches(loader: &dyn DataLoader<Batch>) -> Vec<Batch> {
    loader.iter().map(Result::unwrap).collect()
}

#[test]
fn each_iter_is_one_more_epoch() {
    let config = LoaderConfig { seed: 5, batch_size: 6, repeats: 2, ..LoaderConfig::default() };
    let (plain, burn) = shapes(10, config);
    let expected = |epoch| plain.epoch(epoch).unwrap().map(Result::unwrap).collect::<Vec<Batch>>();
    for epoch in 0..3 {
        assert_eq!(batches(&burn), expected(epoch));
    }
    assert_eq!(batches(&burn.with_epoch(7)), expected(7));
}

#[test]
fn slices_share_every_epoch() {
    let config = LoaderConfig { batch_size: 4, drop_last: false, ..LoaderConfig::default() };
    let (_, burn) = shapes(11, config);
    assert_eq!(burn.num_items(), 11);
    let slices = [burn.slice(0, 6), burn.slice(6, 11)];
    let mut epochs = Vec::new();
    for _ in 0..2 {
        let indices = |slice: &Arc<dyn DataLoader<Batch>>| {
            batches(slice.as_ref()).into_iter().flat_map(|batch| batch.indices).collect::<Vec<usize>>()
        };
        let parts = [indices(&slices[0]), indices(&slices[1])];
        assert_eq!([parts[0].len(), parts[1].len()], [6, 5]);
        assert_eq!(parts.iter().flatten().collect::<BTreeSet<_>>().len(), 11, "each image once");
        epochs.push(parts);
    }
    assert_ne!(epochs[0], epochs[1]);
    let inner = slices[1].slice(1, 3);
    assert_eq!(batches(inner.as_ref())[0].indices.len(), 2);
}

#[test]
fn progress_ends_where_the_rest_is_left_out() {
    let (_, burn) = shapes(11, LoaderConfig { batch_size: 4, ..LoaderConfig::default() });
    assert_eq!(burn.num_items(), 8);
    let mut epoch = burn.iter();
    let mut done = vec![epoch.progress().items_processed];
    while epoch.next().is_some() {
        done.push(epoch.progress().items_processed);
    }
    assert_eq!(done, [0, 4, 8]);
    assert!(epoch.progress().is_completed());
}

#[test]
fn errors_are_items() {
    let folder = tempfile::tempdir().unwrap();
    for i in 0..4 {
        std::fs::write(folder.path().join(format!("{i}.png")), "no image").unwrap();
    }
    let images = open_images(folder.path(), FolderOptions::default()).unwrap();
    let config = LoaderConfig { batch_size: 2, ..LoaderConfig::default() };
    let burn = BurnLoader::new(loader(images, config), &Device::flex(), |batch, _| batch);
    let error = burn.iter().next().unwrap().err().unwrap().to_string();
    assert!(error.contains(".png"), "{error}");

    let error = burn.slice(0, 1).iter().next().unwrap().err().unwrap().to_string();
    assert!(error.contains("batch"), "{error}");
}
