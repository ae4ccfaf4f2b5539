//! The pickle of a PyTorch checkpoint, in an otherwise valid archive.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mae_fuzz::weights::pickle(data));
