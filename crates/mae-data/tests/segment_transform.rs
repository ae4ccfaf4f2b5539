//! Tests what a segmentation transform draws, and that images and label maps stay aligned.

use mae_data::{
    AnyImage, DataError, Encoded, IGNORE, Image, JointTransform, LabelMap, PhotometricDistortion,
    PixelFormat, SegmentTransform, Transform, resize_to, sample_rng,
};

/// An image whose first channel is 10 times the label of each pixel.
fn labelled(height: usize, width: usize, label: impl Fn(usize, usize) -> u16) -> (Image, LabelMap) {
    let labels: Vec<u16> = (0..height * width).map(|at| label(at / width, at % width)).collect();
    let data = labels.iter().flat_map(|label| [*label as u8 * 10, 100, 200]).collect();
    (Image::new(height, width, 3, data).unwrap(), LabelMap::new(height, width, labels).unwrap())
}

fn apply(transform: &SegmentTransform, image: &Image, map: &LabelMap, sample: usize) -> (Image, LabelMap) {
    let image = Encoded::from(image.clone());
    let (image, map) = transform.apply_both(image, map, &mut sample_rng(3, 1, sample)).unwrap();
    (image.into_u8().unwrap(), map)
}

#[test]
fn pixels_keep_their_labels_and_the_border_is_ignored() {
    // Four uniform quarters: away from their borders, resizing changes no pixel.
    let (image, map) = labelled(60, 90, |y, x| u16::from(x >= 45) + 2 * u16::from(y >= 30));
    let transform = SegmentTransform::new((40, 56)).unwrap().with_fill(vec![250.0]);
    let plain = transform.clone().with_flip(false);
    let turned = transform.clone().with_vertical_flip(true).with_quarter_turns(true);
    let (mut bordered, mut mirrored) = (0, 0);
    for transform in [plain, transform, turned] {
        for sample in 0..200 {
            let (seen, labels) = apply(&transform, &image, &map, sample);
            assert_eq!((seen.height(), seen.width(), labels.size()), (40, 56, (40, 56)));
            let pixels = seen.data().as_chunks::<3>().0;
            let fits = |(pixel, label): &(&[u8; 3], &u16)| match **label {
                IGNORE => **pixel == [250; 3],
                label => pixel[0].abs_diff(label as u8 * 10) <= 15 && pixel[1..] == [100, 200],
            };
            assert!(pixels.iter().zip(labels.labels()).all(|pair| fits(&pair)), "sample {sample}");
            // Most pixels match their label exactly. Only the few between two quarters do not.
            let exact = pixels.iter().zip(labels.labels());
            let off = exact.filter(|(pixel, label)| **label != IGNORE && u16::from(pixel[0]) != **label * 10);
            assert!(off.count() <= 2 * 2 * (40 + 56), "sample {sample}");
            bordered += usize::from(labels.labels()[40 * 56 - 1] == IGNORE);
            let row = &labels.labels()[..56];
            mirrored += usize::from(row.windows(2).any(|two| two[0] == two[1].wrapping_add(1)));
        }
    }
    assert!(bordered > 50 && mirrored > 50, "{bordered} {mirrored}");
    // The same stream gives the same view.
    let transform = SegmentTransform::new((40, 56)).unwrap();
    assert_eq!(apply(&transform, &image, &map, 7), apply(&transform, &image, &map, 7));
    assert_ne!(apply(&transform, &image, &map, 7), apply(&transform, &image, &map, 8));
}

#[test]
fn a_crop_of_one_class_is_drawn_again() {
    // One pixel in 16 has the second class, all of them in one corner.
    let (image, map) = labelled(128, 128, |y, x| u16::from(y < 32 && x < 32));
    let share_of_mixed = |largest_share: f64| {
        let transform = SegmentTransform::new((32, 32)).unwrap().with_short_side(Some(128)).unwrap();
        let transform = transform.with_scale((1.0, 1.0)).unwrap().with_largest_share(largest_share).unwrap();
        let mixed = |sample: &usize| {
            let counts = apply(&transform, &image, &map, *sample).1.counts(2);
            (*counts.iter().max().unwrap() as f64) < 0.75 * 1024.0
        };
        (0..400).filter(mixed).count()
    };
    // A random crop is mixed in 6% of the draws, at least one of eleven crops in half of them.
    let (by_chance, chosen) = (share_of_mixed(1.0), share_of_mixed(0.75));
    assert!((5..50).contains(&by_chance), "{by_chance}");
    assert!((130..270).contains(&chosen), "{chosen}");
    // Ignored pixels are not a class, so no crop is better than another here.
    let ignored =
        LabelMap::new(128, 128, map.labels().iter().map(|l| if *l == 1 { IGNORE } else { 0 }).collect());
    assert_eq!(
        apply(&SegmentTransform::new((32, 32)).unwrap(), &image, &ignored.unwrap(), 0).1.size(),
        (32, 32)
    );
}

#[test]
fn scales_are_uniform_in_their_range() {
    let (image, map) = labelled(16, 16, |_, _| 1);
    // The border shows how large the image became.
    let transform = SegmentTransform::new((64, 64)).unwrap().with_short_side(Some(32)).unwrap();
    let sides = (0..600).map(|sample| {
        let (_, labels) = apply(&transform, &image, &map, sample);
        labels.labels()[..64].iter().filter(|label| **label == 1).count()
    });
    let sides: Vec<usize> = sides.collect();
    let [low, middle] = [24, 40].map(|bound| sides.iter().filter(|side| **side < bound).count());
    assert!(sides.iter().all(|side| (16..=64).contains(side)));
    // A sixth and a half of 600, within 5 standard deviations.
    assert!(low.abs_diff(100) < 46 && middle.abs_diff(300) < 62, "{low} {middle}");
}

#[test]
fn pixels_of_any_type_are_transformed_and_colours_of_bytes_alone() {
    let map = LabelMap::new(9, 7, (0..63).map(|at| at % 5).collect()).unwrap();
    let transform = SegmentTransform::new((8, 12)).unwrap().with_fill(vec![1.0, 2.0, 3.0, 4.0]);
    let wide: AnyImage = Image::new(9, 7, 4, (0..252).map(|at| at * 250_u16).collect()).unwrap().into();
    let floats: AnyImage = Image::new(9, 7, 4, (0..252).map(|at| at as f32 - 7.5).collect()).unwrap().into();
    for image in [wide, floats] {
        let kind = image.pixel_type();
        let pixels = PixelFormat::Stored { pixel_type: kind, channels: 4 };
        transform.check(pixels).unwrap();
        let (seen, labels) = transform.apply_both(image.into(), &map, &mut sample_rng(0, 0, 0)).unwrap();
        assert_eq!((seen.height(), seen.width(), seen.channels(), seen.pixel_type()), (8, 12, 4, kind));
        assert_eq!(labels.size(), (8, 12));
        let coloured = transform.clone().with_photometric(Some(PhotometricDistortion::default()));
        assert_eq!(
            coloured.check(pixels).unwrap_err().to_string(),
            format!(
                "photometric distortion is of images of {kind}x4, but must be of rgb8, because hue and saturation are of \
                 colours, or left out"
            )
        );
    }
    let error = transform.check(PixelFormat::Rgb8).unwrap_err().to_string();
    assert_eq!(error, "the fill of borders is 4 numbers, but must be 1 number, or 3, one for each channel");
}

#[test]
fn colours_change_as_often_as_they_should_and_labels_do_not() {
    let (image, map) = labelled(24, 24, |y, x| (y / 6 + x / 8) as u16);
    let plain = SegmentTransform::new((24, 24)).unwrap();
    let coloured = plain.clone().with_photometric(Some(PhotometricDistortion::default()));
    let mut same = 0;
    for sample in 0..800 {
        let ((before, labels), (after, again)) =
            (apply(&plain, &image, &map, sample), apply(&coloured, &image, &map, sample));
        assert_eq!(labels, again);
        same += usize::from(before == after);
    }
    // One in 16, and the few whose factors change no byte, within 5 standard deviations.
    assert!((50 - 34..50 + 50).contains(&same), "{same}");
    let none = PhotometricDistortion::new(0.0, 0.0, 0.0, 0.0).unwrap();
    let unchanged = none.apply(image.clone().into(), &mut sample_rng(0, 0, 0)).unwrap();
    // Half of the draws convert to HSV, which rounds to 255 hues. A step of one hue changes a channel by up to 6.
    let apart =
        unchanged.into_u8().unwrap().into_data().into_iter().zip(image.data()).map(|(a, b)| a.abs_diff(*b));
    assert!(apart.max().unwrap() <= 8);
    for (arguments, name) in [((1.5, 0.0, 0.0, 0.0), "brightness"), ((0.0, 0.0, 0.0, 0.6), "hue")] {
        let (brightness, contrast, saturation, hue) = arguments;
        let error =
            PhotometricDistortion::new(brightness, contrast, saturation, hue).unwrap_err().to_string();
        assert!(error.starts_with(name), "{error}");
    }
}

#[test]
fn images_are_resized_to_a_size() {
    let image = || AnyImage::from(Image::new(30, 50, 3, vec![7_u8; 4500]).unwrap());
    assert_eq!(resize_to(image(), (30, 50)).unwrap(), image());
    assert_eq!(resize_to(image(), (3, 5)).unwrap(), Image::new(3, 5, 3, vec![7_u8; 45]).unwrap().into());
    assert!(matches!(resize_to(image(), (0, 5)), Err(DataError::Image(_))));
}

#[test]
fn a_window_stands_for_a_scene() {
    // Each label stands for a block of 8 by 8 pixels.
    let (image, map) = labelled(64, 96, |y, x| (y / 8 * 12 + x / 8) as u16 % 25);
    let transform = SegmentTransform::new((16, 16)).unwrap().with_scale((1.0, 1.0)).unwrap().with_flip(false);
    let transform = transform.with_window(16).unwrap().with_largest_share(1.0).unwrap();
    let mut places = std::collections::BTreeSet::new();
    for sample in 0..300 {
        let (seen, labels) = apply(&transform, &image, &map, sample);
        // Nothing is resized: every pixel is a pixel of the scene, with its label.
        let pixels = seen.data().as_chunks::<3>().0.iter().zip(labels.labels());
        assert!(pixels.clone().all(|(pixel, label)| u16::from(pixel[0]) == label * 10), "sample {sample}");
        places.insert(labels.into_labels());
    }
    assert!(places.len() > 250, "{}", places.len());
    assert!(SegmentTransform::new((8, 8)).unwrap().with_window(0).is_err());
}

#[test]
fn settings_out_of_bounds_are_refused() {
    let transform = || SegmentTransform::new((8, 8)).unwrap();
    assert!(SegmentTransform::new((0, 8)).is_err());
    for scale in [(0.0, 1.0), (2.0, 1.0), (1.0, f64::INFINITY), (f64::NAN, 1.0)] {
        let error = transform().with_scale(scale).unwrap_err().to_string();
        assert!(error.starts_with("scale is ") && error.ends_with("0 < low <= high"), "{error}");
    }
    assert_eq!(
        transform().with_largest_share(0.0).unwrap_err().to_string(),
        "largest share is 0, but must be above 0 and at most 1"
    );
    assert!(transform().with_short_side(Some(0)).is_err());
    assert_eq!(transform().output_size(), (8, 8));
}
