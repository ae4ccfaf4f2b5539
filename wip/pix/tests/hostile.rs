//! Small files that tell of huge or endless images must be refused at once.

use pix::{Problem, npy, tiff};

const MAX: u64 = 1 << 20;

/// A TIFF file of one directory; of each tag its number, its type and its one value.
fn tiff_file(tags: &[(u16, u16, u32)], next: u32) -> Vec<u8> {
    let mut file = b"II*\0\x08\0\0\0".to_vec();
    file.extend((tags.len() as u16).to_le_bytes());
    for (tag, kind, value) in tags {
        file.extend([tag.to_le_bytes(), kind.to_le_bytes()].as_flattened());
        file.extend([1, *value].map(u32::to_le_bytes).as_flattened());
    }
    file.extend(next.to_le_bytes());
    file
}

fn large(file: &[u8]) -> u64 {
    match tiff::read(file, MAX) {
        Err(Problem::TooLarge { bytes, .. }) => bytes,
        other => panic!("{other:?}"),
    }
}

#[test]
fn sizes_beyond_all_ranges_are_refused() {
    let most = u32::MAX;
    let planes = [(256, 4, 1), (257, 4, most), (258, 3, 8), (262, 3, 1), (273, 4, 8), (277, 3, 65535)];
    let file = tiff_file(&[&planes[..], &[(278, 4, 1), (279, 4, 1), (284, 3, 2)]].concat(), 0);
    assert!(matches!(tiff::read(&file, MAX), Err(Problem::Damaged(_))));
    for compression in [1, 5, 8] {
        let file = [(256, 4, most), (257, 4, most), (258, 3, 64), (259, 3, compression), (262, 3, 1)];
        let file = tiff_file(&[&file[..], &[(273, 4, 8), (277, 3, 65535), (279, 4, 1)]].concat(), 0);
        assert!(large(&file) > 1 << 60);
        assert!(matches!(tiff::read(&file, u64::MAX), Err(Problem::TooLarge { .. })));
    }
    // One pixel in a tile of 2^30.
    let tile = [(256, 4, 1), (257, 4, 1), (258, 3, 32), (259, 3, 8), (262, 3, 1), (317, 3, 3)];
    let tile = [&tile[..], &[(322, 4, 1 << 30), (323, 4, 1), (324, 4, 8), (325, 4, 1), (339, 3, 3)]].concat();
    assert_eq!(large(&tiff_file(&tile, 0)), 4 << 30);
}

#[test]
fn pages_in_a_circle_end() {
    // All pages are thumbnails, and the first is its own successor.
    let tags = [(254, 4, 1), (256, 4, 1), (257, 4, 1), (258, 3, 8), (273, 4, 8), (279, 4, 1)];
    let stored = tiff::read(&tiff_file(&tags, 8), MAX).unwrap();
    assert_eq!((stored.height, stored.width, stored.channels), (1, 1, 1));
}

#[test]
fn numpy_headers_that_are_none_are_refused() {
    let file = |header: &str| {
        let mut file = b"\x93NUMPY\x01\0".to_vec();
        file.extend((header.len() as u16).to_le_bytes());
        file.extend(header.bytes());
        file
    };
    let far =
        "{'descr': '|u1', 'fortran_order': False, 'shape': (9223372036854775807, 9223372036854775807, 9), }";
    for header in [
        far,
        "",
        "{",
        "{}",
        "{'descr': '|u1'}",
        "{'descr': '|u1', 'fortran_order': Maybe, 'shape': (1, 1)}",
        "{'descr': '|u1', 'fortran_order': True, 'shape': (1, -1)}",
        "{'descr': '|u1', 'fortran_order': True, 'shape': (1, 99999999999999999999)}",
        "{'descr': '|u1', 'fortran_order': True, 'shape': (1, 1",
        "{'descr': '|u1', 'other': 3}",
    ] {
        let read = npy::read(&file(header), MAX);
        assert!(matches!(read, Err(Problem::Damaged(_))), "{header}: {read:?}");
    }
    let fine = [file("{\"shape\":(1L,2L),'fortran_order':True,'descr':'|u1'}\n"), vec![3, 4]].concat();
    assert_eq!(npy::read(&fine, MAX).unwrap().numbers, pix::Numbers::U8(vec![3, 4]));
}
