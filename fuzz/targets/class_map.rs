//! Class maps in TOML and JSON. The first byte chooses which.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mae_data::{ClassMap, IGNORE};
use mae_fuzz::file;

fuzz_target!(|data: &[u8]| {
    let [kind, text @ ..] = data else { return };
    let path = file(["classes.toml", "classes.json"][usize::from(kind % 2)], text);
    let map = match ClassMap::load(path) {
        Ok(map) => map,
        Err(error) => return assert!(!error.to_string().contains('\n'), "{error}"),
    };
    assert!(map.classes().len() > 1 && (map.has_values() || map.has_colours()));
    for label in (0..=u16::MAX).filter_map(|value| map.of_value(value)) {
        assert!(label == IGNORE || usize::from(label) < map.classes().len());
    }
});
