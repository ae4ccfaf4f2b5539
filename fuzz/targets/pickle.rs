//! The pickle of a PyTorch checkpoint, in an archive that is otherwise whole.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mae_fuzz::weights::pickle(data));
