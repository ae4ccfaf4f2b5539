//! PNG files.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use mae_fuzz::{ImageFormat, SMALL, decode, is};

fuzz_target!(|data: &[u8]| -> Corpus {
    if !is(ImageFormat::Png, data) {
        return Corpus::Reject;
    }
    let _ = decode(data, &SMALL);
    Corpus::Keep
});
