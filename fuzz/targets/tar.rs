//! Tar files without an index, of every dialect.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mae_fuzz::{file, load_shards, scratch};

fuzz_target!(|data: &[u8]| {
    file("a.tar", data);
    load_shards(scratch());
});
