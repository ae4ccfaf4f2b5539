//! EXIF data: orientations in JPEG and PNG files.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mae_fuzz::exif(data));
