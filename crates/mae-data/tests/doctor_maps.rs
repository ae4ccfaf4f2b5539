//! Tests the doctor on label maps.

mod masks;

use std::fs;

use mae_data::{Doctor, MapReport};
use masks::{Folders, classes};

fn examine(folders: &Folders, names: &[&str], threads: usize) -> MapReport {
    let source = folders.segmented(Some(classes(names))).unwrap();
    let mut calls = Vec::new();
    let doctor = Doctor { threads, ..Doctor::default() };
    let report = doctor.examine_maps(&source, |done, total| calls.push((done, total))).unwrap();
    assert_eq!(calls, (1..=report.images).map(|done| (done, report.images)).collect::<Vec<_>>());
    report
}

#[test]
fn pixels_are_counted_by_class() {
    let folders = Folders::new();
    for name in ["a", "b", "c"] {
        folders.image(&format!("{name}.png"), (2, 5));
    }
    folders.mask("a.png", (2, 5), &[0, 0, 0, 0, 0, 1, 1, 1, 255, 255]).mask("b.png", (2, 5), &[0; 10]);
    folders.mask("c.png", (2, 5), &[255; 10]);
    let report = examine(&folders, &["ground", "road", "car"], 2);
    let counts: Vec<_> = report.classes.iter().map(|class| (class.pixels, class.images)).collect();
    assert_eq!(counts, [(15, 2), (3, 1), (0, 0)]);
    assert_eq!((report.ignored, report.pixels, report.images, report.is_refused()), (12, 30, 3, false));
    let text = report.to_string();
    for part in [
        "3 with a label map, 0 without",
        " 50.00%       2  ground\n",
        "  0.00%       0  car\n",
        "40.00% of the",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let warnings = report.warnings();
    assert!(
        warnings[0].starts_with("1 image(s) have no pixel of any class: ") && warnings[0].ends_with("c.png")
    );
    assert_eq!(warnings[1..], ["1 class(es) have no pixel: car"]);
    assert_eq!(examine(&folders, &["ground", "road", "car"], 1), report);
    folders.mask("a.png", (2, 5), &[0; 10]);
    let warnings = examine(&folders, &["ground", "road"], 1).warnings();
    assert_eq!(warnings.last().unwrap(), "all pixels that are not ignored are of one class");
}

#[test]
fn all_that_is_wrong_is_listed() {
    let folders = Folders::new();
    for name in ["a", "b", "c", "d", "e", "f"] {
        folders.image(&format!("{name}.png"), (2, 3));
    }
    folders.mask("a.png", (2, 3), &[0, 9, 1, 9, 7, 0]).mask("b.png", (3, 2), &[0; 6]).mask(
        "c.png",
        (2, 3),
        &[0; 6],
    );
    folders.mask("d.png", (2, 3), &[8; 6]).mask("z.png", (1, 1), &[0]).mask("f.png", (2, 3), &[0; 6]);
    fs::write(folders.masks().join("c.png"), b"damaged").unwrap();
    fs::write(folders.images().join("f.png"), b"damaged").unwrap();
    let report = examine(&folders, &["no", "yes"], 3);
    assert!(report.is_refused());
    let strays: Vec<_> = report.strays.iter().map(|s| (&*s.path, &*s.value, s.pixels, s.x, s.y)).collect();
    assert_eq!(strays, [("a.png", "7", 1, 1, 1), ("a.png", "9", 2, 1, 0), ("d.png", "8", 6, 0, 0)]);
    assert_eq!(report.misfits.len(), 1);
    assert!(
        report.misfits[0].reason.contains("b.png is 3x2, but its image "),
        "{}",
        report.misfits[0].reason
    );
    assert_eq!(report.without_image, ["z.png"]);
    assert!(report.without_map.len() == 1 && report.without_map[0].ends_with("e.png"));
    let unreadable: Vec<_> = report.unreadable.iter().map(|file| file.reason.as_str()).collect();
    assert!(
        unreadable.len() == 2
            && unreadable[0].contains("masks/c.png")
            && unreadable[1].contains("images/f.png")
    );
    let text = report.to_string();
    for part in [
        "2 label map(s) or image(s) cannot be read",
        "1 label map(s) differ in size from their image",
        "3 value(s) are not in the class map: a.png has 7 in 1 pixel(s), first at (x 1, y 1), a.png has 9 in 2",
        "1 image(s) have no label map and are left out",
        "1 label map(s) belong to no image: z.png",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["strays"][2]["pixels"], 6);
}
