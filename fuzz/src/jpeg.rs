//! Compares our JPEG decoding with libjpeg-turbo's.

use std::panic::{catch_unwind, resume_unwind};

use image::RgbImage;
use mae_data::Image;
use mozjpeg::{ColorSpace, Decompress};
use mozjpeg_sys::{
    jpeg_common_struct, jpeg_create_decompress, jpeg_decompress_struct, jpeg_destroy_decompress,
    jpeg_error_mgr, jpeg_mem_src, jpeg_read_coefficients, jpeg_read_header, jpeg_std_error,
};

use crate::orientation::orientations;

/// Compares `ours` with libjpeg-turbo's image. If libjpeg-turbo decodes the file without errors or warnings, our pixels
/// must equal its pixels in some orientation.
pub fn compare(file: &[u8], ours: &Image) {
    let Some(theirs) = libjpeg(file) else { return };
    if orientations(&theirs).any(|turned| turned.as_raw() == ours.data()) {
        return;
    }
    assert!(overflows(file), "not libjpeg-turbo's pixels");
}

/// Whether a coefficient is too large for 16-bit sums. No encoder writes such coefficients, and libjpeg's own
/// transforms give different results for them.
fn overflows(file: &[u8]) -> bool {
    const MOST: i32 = i16::MAX as i32 / 4;
    // SAFETY: libjpeg is called as its manual says; it owns the coefficients until the last call.
    unsafe {
        let (mut manager, mut image) = (strict(), std::mem::zeroed::<jpeg_decompress_struct>());
        image.common.err = &raw mut manager;
        jpeg_create_decompress(&mut image);
        jpeg_mem_src(&mut image, file.as_ptr(), file.len() as _);
        jpeg_read_header(&mut image, 1);
        let arrays = jpeg_read_coefficients(&mut image);
        let access = (*image.common.mem).access_virt_barray.expect("libjpeg sets it");
        let mut most = 0;
        for number in 0..image.num_components as usize {
            let component = &*image.comp_info.add(number);
            let factors = &(*component.quant_table).quantval;
            for row in 0..component.height_in_blocks {
                let blocks = *access(&mut image.common, *arrays.add(number), row, 1, 0);
                for column in 0..component.width_in_blocks {
                    let products = (*blocks.add(column as usize)).iter().zip(factors);
                    let products = products.map(|(value, factor)| i32::from(*value) * i32::from(*factor));
                    most = most.max(products.map(i32::abs).max().unwrap_or(0));
                }
            }
        }
        jpeg_destroy_decompress(&mut image);
        most > MOST
    }
}

/// The pixels as libjpeg-turbo decodes them; `None` if the file is damaged or in another colour space.
fn libjpeg(file: &[u8]) -> Option<RgbImage> {
    catch_unwind(|| {
        let image = Decompress::with_err(strict()).from_mem(file).ok()?;
        if !matches!(
            image.color_space(),
            ColorSpace::JCS_YCbCr | ColorSpace::JCS_RGB | ColorSpace::JCS_GRAYSCALE
        ) {
            return None;
        }
        let (width, height) = image.size();
        let mut image = image.rgb().ok()?;
        let pixels = image.read_scanlines::<[u8; 3]>().ok()?;
        image.finish().ok()?;
        RgbImage::from_raw(width as u32, height as u32, pixels.into_flattened())
    })
    .ok()
    .flatten()
}

/// Makes both errors and warnings unwind, without the panic hook, which would end the process.
fn strict() -> jpeg_error_mgr {
    extern "C-unwind" fn error(_: &mut jpeg_common_struct) {
        resume_unwind(Box::new(()));
    }
    extern "C-unwind" fn message(_: &mut jpeg_common_struct, level: std::ffi::c_int) {
        if level < 0 {
            resume_unwind(Box::new(()));
        }
    }
    // SAFETY: the struct is plain data, which this call fills.
    unsafe {
        let mut manager = std::mem::zeroed();
        jpeg_std_error(&mut manager);
        manager.error_exit = Some(error);
        manager.emit_message = Some(message);
        manager
    }
}
