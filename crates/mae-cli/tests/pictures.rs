//! Pictures of images, some of which are unreadable or have very long names.

#[allow(dead_code, reason = "other tests use the rest")]
mod common;

use std::fs;

use common::{mae, refused, setting};

#[test]
fn the_others_are_done_and_the_bad_ones_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    setting(at);
    let (images, long) = (at.join("train/red"), "ä".repeat(125));
    fs::write(images.join("2.png"), "no image").unwrap();
    fs::copy(images.join("0.png"), images.join(format!("{long}.png"))).unwrap();
    for verb in ["attention", "reconstruct"] {
        let output = mae(at, &format!("{verb} . train/red {verb} --batch-size 3"));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{text}");
        let reason = "not read: train/red/2.png";
        assert!(text.contains(reason) && text.contains("1 of 7 images cannot be read"), "{text}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("written         6 pictures"), "{output:?}");
        let mut names: Vec<String> = fs::read_dir(at.join(verb))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let cut = names.pop().unwrap();
        assert_eq!(names, [0, 1, 3, 4, 5].map(|i| format!("00000{i}-{i}.png")));
        let stem = cut.strip_prefix("000006-").and_then(|name| name.strip_suffix(".png")).unwrap();
        assert!(stem.len() > 150 && long.starts_with(stem), "{cut}");
        image::open(at.join(verb).join(cut)).unwrap();
        // Existing pictures are kept unless `--force` replaces them.
        let again = format!("{verb} . train/red {verb}");
        refused(at, &again, &[&format!("{verb}/000000-0.png already exists; --force replaces it")]);
        fs::write(at.join(verb).join("000000-0.png"), "else").unwrap();
        mae(at, &format!("{again} --force -q"));
        image::open(at.join(verb).join("000000-0.png")).unwrap();
    }
}

#[test]
fn of_a_single_image_that_cannot_be_read_the_reason_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    setting(at);
    fs::write(at.join("bad.png"), b"\x89PNG\r\n\x1a\n").unwrap();
    let reason = mae(at, "reconstruct . bad.png pictures --mask bad.png");
    let reason = String::from_utf8_lossy(&reason.stderr).trim().replace("error: ", "");
    assert!(reason.starts_with("bad.png") || reason.contains("bad.png"), "{reason}");
    for args in ["attention . bad.png pictures", "reconstruct . bad.png pictures", "embed . bad.png out.npy"]
    {
        refused(at, args, &[&reason]);
        let text = String::from_utf8_lossy(&mae(at, args).stderr).into_owned();
        assert!(!text.contains("take its place"), "{text}");
    }
    assert!(!at.join("pictures").exists());
}
