//! Image files of every format under the limits that users have: none may take more than 1 GB or 10 s.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mae_data::DecodeLimits;

fuzz_target!(|data: &[u8]| {
    let _ = mae_fuzz::decode(data, &DecodeLimits::default());
});
