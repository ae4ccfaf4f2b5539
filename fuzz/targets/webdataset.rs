//! Folders of WebDataset tar files: `==` separates members, `====` separates shards; a member's first line is its name.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mae_fuzz::{archive, file, load_shards, scratch};

fuzz_target!(|text: &str| {
    let mut shards: Vec<_> = text.split("\n====\n").collect();
    shards.resize(2, "");
    for (name, shard) in ["a.tar", "b.tar"].iter().zip(shards) {
        let members = shard.split("\n==\n").map(|member| member.split_once('\n').unwrap_or((member, "")));
        file(name, &archive(members.map(|(name, data)| (name, data.as_bytes()))));
    }
    load_shards(scratch());
});
