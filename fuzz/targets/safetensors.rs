//! Weights as safetensors: our reader compared with the `safetensors` crate.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mae_fuzz::weights::safetensors(data));
