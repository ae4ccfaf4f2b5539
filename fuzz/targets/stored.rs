//! TIFF, NumPy and other files, decoded to their stored values.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mae_fuzz::{SMALL, decode_stored};

fuzz_target!(|data: &[u8]| decode_stored(data, &SMALL));
