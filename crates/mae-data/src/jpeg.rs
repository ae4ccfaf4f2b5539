//! Tells a JPEG file that was cut short, which its decoder would quietly fill up with grey.

/// Whether the image in a JPEG file reaches its end marker; what follows it does not matter.
///
/// Pillow refuses the same files: "image file is truncated".
///
/// # Source
/// ITU-T T.81, annex B: markers and the segments they open.
pub(crate) fn has_end(file: &[u8]) -> bool {
    const END_OF_IMAGE: u8 = 0xD9;
    const STUFFED_ZERO: u8 = 0x00;
    let mut rest = file;
    // In a scan's data and between segments alike the next marker is the next 0xFF; a thumbnail's markers lie
    // within a segment and are stepped over with it.
    while let Some(at) = rest.windows(2).position(|pair| pair[0] == 0xFF && pair[1] != 0xFF) {
        let marker = rest[at + 1];
        rest = &rest[at + 2..];
        match marker {
            END_OF_IMAGE => return true,
            // Data, TEM, restarts and the start of the image stand alone.
            STUFFED_ZERO | 0x01 | 0xD0..=0xD8 => {}
            _ => {
                let Some(&[high, low]) = rest.first_chunk() else { return false };
                let length = usize::from(u16::from_be_bytes([high, low]));
                let Some(after) = rest.get(length..) else { return false };
                rest = after;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::has_end;

    #[test]
    fn steps_over_segments_and_scan_data() {
        let thumbnail = [0xFF, 0xD8, 0xFF, 0xE1, 0, 6, 0xFF, 0xD9, 1, 2];
        assert!(!has_end(&thumbnail));
        let scan = [0xFF, 0xDA, 0, 3, 9, 7, 0xFF, 0x00, 0xFF, 0xD0, 5, 0xFF];
        let whole = [&thumbnail[..], &scan, &[0xFF, 0xD9, 0, 0]].concat();
        assert!(has_end(&whole));
        for cut in 0..whole.len() - 2 {
            assert!(!has_end(&whole[..cut]), "cut at {cut}");
        }
    }
}
