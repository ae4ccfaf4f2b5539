//! JPEG files: our decoder compared with libjpeg-turbo.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use mae_fuzz::{ImageFormat, SMALL, compare_jpeg, decode, is};

fuzz_target!(|data: &[u8]| -> Corpus {
    if !is(ImageFormat::Jpeg, data) {
        return Corpus::Reject;
    }
    if let Ok(image) = decode(data, &SMALL) {
        compare_jpeg(data, &image);
    }
    Corpus::Keep
});
