//! Times the loader with one worker. `cargo xtask bench load` compares it with others.
#![allow(clippy::print_stdout, reason = "a benchmark prints its numbers")]

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use mae_data::{FolderOptions, Loader, LoaderConfig, RandomResizedCrop, TrainTransform, open_images};

/// `bench_load DIR PASSES BATCH`: prints one line of JSON.
fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, passes, batch] = &args[..] else { return Err("usage: bench_load DIR PASSES BATCH".into()) };
    let images = open_images(PathBuf::from(folder), FolderOptions::default())?;
    let (len, passes) = (images.len(), passes.parse::<u64>()?);
    let transform = TrainTransform::new((224, 224), RandomResizedCrop::default())?;
    let config =
        LoaderConfig { batch_size: batch.parse()?, workers: 1, drop_last: false, ..LoaderConfig::default() };
    let loader = Loader::new(images, Arc::new(transform), config)?;
    let (mut seconds, mut sum, mut bytes) = (Vec::new(), 0, 0);
    // The first pass is a warm-up.
    for epoch in 0..=passes {
        let began = Instant::now();
        let mut count = 0;
        for batch in loader.epoch(epoch)? {
            let batch = batch?;
            count += batch.shape[0];
            if epoch == 0 {
                sum += batch.images.iter().map(|&byte| u64::from(byte)).sum::<u64>();
                bytes += batch.images.len();
            }
        }
        assert_eq!(count, len, "a pass sees every image");
        if epoch > 0 {
            seconds.push(began.elapsed().as_secs_f64());
        }
    }
    let mean = sum as f64 / bytes as f64;
    println!("{{\"seconds\": {seconds:?}, \"images\": {len}, \"bytes\": {bytes}, \"mean\": {mean}}}");
    Ok(())
}
