//! `index.jsonl` next to a tar file of three images.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mae_fuzz::{archive, file, load_shards, scratch};

static SHARD: LazyLock<Vec<u8>> = LazyLock::new(|| {
    archive([
        ("0.ppm", &b"P6\n1 2\n255\nabcdef"[..]),
        ("1.gif", b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;"),
        ("2.png", b"\x89PNG\r\n\x1a\n"),
    ])
});

fuzz_target!(init: { file("shard-00000.tar", &SHARD); }, |data: &[u8]| {
    file("index.jsonl", data);
    load_shards(scratch());
});
