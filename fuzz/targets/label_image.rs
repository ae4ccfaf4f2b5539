//! Label images: PNG and TIFF files decoded to their stored values, which a class map then maps to labels.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mae_data::{ClassMap, LabelMapOptions, LabelMaps, decode_labels};
use mae_fuzz::{SMALL, file, scratch};

fuzz_target!(|data: &[u8]| {
    let path = file("label.png", data);
    let decoded = decode_labels(&path, &SMALL);
    if let Ok(image) = &decoded {
        assert!((image.height() * image.width()) as u64 <= SMALL.max_pixels);
        assert!(matches!(image.channels(), 1 | 3));
    }
    let options = LabelMapOptions { limits: SMALL, ..LabelMapOptions::default() };
    let maps = LabelMaps::open(scratch(), Some(ClassMap::voc()), options).expect("there is a label image");
    if let (Ok(image), Ok(map)) = (decoded, maps.load("label.png".as_ref())) {
        assert_eq!(map.size(), (image.height(), image.width()));
        assert!(map.labels().iter().all(|label| *label < 21 || *label == mae_data::IGNORE));
    }
});
