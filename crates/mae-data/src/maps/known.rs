//! The classes of well-known data sets, and colours for any classes.

/// Returns a colour for a label. The first 256 labels have different colours; 0 is black.
///
/// # Source
/// Pascal VOC's colour map (`VOClabelcolormap.m` of its development kit): each group of three bits of the label gives
/// one bit of red, green and blue, from the highest bit down.
#[must_use]
pub fn label_colour(label: usize) -> [u8; 3] {
    let bit = |at: usize| (label >> at & 1) as u8;
    [0, 1, 2].map(|channel| (0..8).fold(0, |colour, place| colour | bit(3 * place + channel) << (7 - place)))
}

/// Pascal VOC's classes.
///
/// # Source
/// `VOCinit.m` of the VOC2012 development kit, preceded by the background.
pub(super) const VOC: [&str; 21] = [
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
];

/// The classes of ADE20K's SceneParsing release, with the first name of each.
///
/// # Source
/// `objectInfo150.txt` of the release.
#[rustfmt::skip]
pub(super) const ADE20K: [&str; 150] = [
    "wall", "building", "sky", "floor", "tree", "ceiling", "road", "bed", "windowpane", "grass",
    "cabinet", "sidewalk", "person", "earth", "door", "table", "mountain", "plant", "curtain", "chair",
    "car", "water", "painting", "sofa", "shelf", "house", "sea", "mirror", "rug", "field",
    "armchair", "seat", "fence", "desk", "rock", "wardrobe", "lamp", "bathtub", "railing", "cushion",
    "base", "box", "column", "signboard", "chest of drawers", "counter", "sand", "sink", "skyscraper", "fireplace",
    "refrigerator", "grandstand", "path", "stairs", "runway", "case", "pool table", "pillow", "screen door", "stairway",
    "river", "bridge", "bookcase", "blind", "coffee table", "toilet", "flower", "book", "hill", "bench",
    "countertop", "stove", "palm", "kitchen island", "computer", "swivel chair", "boat", "bar", "arcade machine", "hovel",
    "bus", "towel", "light", "truck", "tower", "chandelier", "awning", "streetlight", "booth", "television receiver",
    "airplane", "dirt track", "apparel", "pole", "land", "bannister", "escalator", "ottoman", "bottle", "buffet",
    "poster", "stage", "van", "ship", "fountain", "conveyer belt", "canopy", "washer", "plaything", "swimming pool",
    "stool", "barrel", "basket", "waterfall", "tent", "bag", "minibike", "cradle", "oven", "ball",
    "food", "step", "tank", "trade name", "microwave", "pot", "animal", "bicycle", "lake", "dishwasher",
    "screen", "blanket", "sculpture", "hood", "sconce", "vase", "traffic light", "tray", "ashcan", "fan",
    "pier", "crt screen", "plate", "monitor", "bulletin board", "shower", "radiator", "glass", "clock", "flag",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_those_of_vocs_palette() {
        let known = [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128]];
        assert_eq!([0, 1, 2, 3, 4].map(label_colour), known);
        assert_eq!([20, 255].map(label_colour), [[0, 64, 128], [224, 224, 192]]);
        let mut all: Vec<_> = (0..256).map(label_colour).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 256);
    }
}
