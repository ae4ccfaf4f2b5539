//! TIFF, NumPy and other files as the numbers that are stored in them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mae_fuzz::{SMALL, decode_stored};

fuzz_target!(|data: &[u8]| decode_stored(data, &SMALL));
