//! Masks given as pictures to `mae reconstruct --mask`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mae_fuzz::{SMALL, decode, painted::painted};

fuzz_target!(|data: &[u8]| {
    let Ok(image) = decode(data, &SMALL) else { return };
    if let Ok(masking) = painted(&image, (4, 6), "input".as_ref()) {
        let hidden = masking.mask().iter().filter(|hidden| **hidden).count();
        assert!(0 < hidden && hidden < 24 && masking.num_keep() == 24 - hidden);
    }
});
