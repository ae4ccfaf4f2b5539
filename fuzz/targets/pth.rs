//! PyTorch's checkpoints: zip archives, and pickles without one.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mae_fuzz::weights::pth(data));
