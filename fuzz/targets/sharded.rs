//! The index of a sharded weight file, next to two shards.
#![no_main]

libfuzzer_sys::fuzz_target!(init: mae_fuzz::weights::write_shards(), |data: &[u8]| mae_fuzz::weights::sharded(data));
