//! PyTorch checkpoints: zip archives, and pickles outside an archive.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mae_fuzz::weights::pth(data));
