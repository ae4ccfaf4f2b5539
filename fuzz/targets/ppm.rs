//! PPM files, alone and in a tar file, from which single rows are read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mae_fuzz::{SMALL, archive, decode, file, load_shards, scratch};

fuzz_target!(|data: &[u8]| {
    let _ = decode(data, &SMALL);
    file("a.tar", &archive([("image.ppm", data)]));
    load_shards(scratch());
});
