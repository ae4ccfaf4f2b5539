//! Colours of classes.

/// The label of a pixel that has no class: `mae_eval`'s `IGNORE_LABEL`.
pub(super) const IGNORED: u16 = u16::MAX;

/// Returns the RGB colour of a class, different for each class. Class 0, the background of many data sets, is black.
///
/// # Source
/// `VOClabelcolormap` of the PASCAL VOC development kit: the bits of the class number, from the lowest, go to red,
/// green and blue in turn, from the highest bit of each channel down.
pub fn class_colour(class: u16) -> [u8; 3] {
    let mut colour = [0; 3];
    for bit in 0..u16::BITS as usize {
        let set = (class >> bit) & 1;
        colour[bit % 3] |= (set as u8) << (7 - bit / 3);
    }
    colour
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn colours_are_those_of_voc_and_no_two_classes_share_one() {
        // Background, aeroplane, bicycle, bird, person, tv monitor and the void label of the files as they are
        // distributed.
        let known = [
            (0, [0, 0, 0]),
            (1, [128, 0, 0]),
            (2, [0, 128, 0]),
            (3, [128, 128, 0]),
            (15, [192, 128, 128]),
            (20, [0, 64, 128]),
            (255, [224, 224, 192]),
        ];
        for (class, colour) in known {
            assert_eq!(class_colour(class), colour, "{class}");
        }
        assert_eq!((0..=u16::MAX).map(class_colour).collect::<HashSet<_>>().len(), 65536);
    }
}
