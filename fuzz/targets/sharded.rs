//! The index of weights in several files, beside two of them.
#![no_main]

libfuzzer_sys::fuzz_target!(init: mae_fuzz::weights::write_shards(), |data: &[u8]| mae_fuzz::weights::sharded(data));
