//! Files that other programs wrote must be read number by number, and damaged ones without a panic.

use std::fs;
use std::path::PathBuf;

use pix::{Header, Numbers, PixelType, Problem, Stored, npy, tiff};
use serde_json::Value;

const ALL: u64 = 1 << 30;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn index() -> Vec<Value> {
    let text = fs::read_to_string(folder().join("index.json")).expect("make_golden.py was run");
    serde_json::from_str(&text).unwrap()
}

fn header(name: &str, file: &[u8]) -> Result<Header, Problem> {
    if name.ends_with(".npy") { npy::header(file) } else { tiff::header(file) }
}

fn read(name: &str, file: &[u8], max_bytes: u64) -> Result<Stored, Problem> {
    if name.ends_with(".npy") { npy::read(file, max_bytes) } else { tiff::read(file, max_bytes) }
}

fn kind(numbers: &Numbers) -> PixelType {
    match numbers {
        Numbers::U8(_) => PixelType::U8,
        Numbers::U16(_) => PixelType::U16,
        Numbers::F32(_) => PixelType::F32,
    }
}

/// All numbers are equal: of floats all bits, except for those of `NaN`.
fn assert_same(name: &str, numbers: &Numbers, raw: &[u8]) {
    match numbers {
        Numbers::U8(numbers) => assert!(numbers == raw, "{name}"),
        Numbers::U16(numbers) => {
            let raw: Vec<_> = raw.as_chunks().0.iter().map(|b| u16::from_le_bytes(*b)).collect();
            assert!(*numbers == raw, "{name}");
        }
        Numbers::F32(numbers) => {
            let raw: Vec<_> = raw.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
            assert_eq!(numbers.len(), raw.len(), "{name}");
            for (i, (a, b)) in numbers.iter().zip(&raw).enumerate() {
                assert!(
                    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(),
                    "{name}: {a} is not {b} at {i}"
                );
            }
        }
    }
}

#[test]
fn every_number_is_as_it_was_written() {
    let (mut compared, mut refused, mut numbers) = (0, 0, 0);
    for entry in index() {
        let name = entry["file"].as_str().unwrap();
        let file = fs::read(folder().join(name)).unwrap();
        if let Some(variant) = entry["refused"].as_str() {
            let problem = read(name, &file, ALL).expect_err(name);
            let text = format!("{problem:?}");
            let part = format!("{:?}", entry["part"].as_str().unwrap());
            let part = &part[1..part.len() - 1];
            assert!(text.starts_with(variant) && text.contains(part), "{name}: {text} lacks {part}");
            refused += 1;
            continue;
        }
        let stored = read(name, &file, ALL).unwrap_or_else(|problem| panic!("{name}: {problem:?}"));
        let side = |key: &str| entry[key].as_u64().unwrap() as usize;
        let told = Header {
            height: side("height"),
            width: side("width"),
            channels: side("channels"),
            alpha: entry["alpha"].as_bool().unwrap(),
            kind: match entry["kind"].as_str().unwrap() {
                "u8" => PixelType::U8,
                "u16" => PixelType::U16,
                _ => PixelType::F32,
            },
        };
        assert_eq!(header(name, &file), Ok(told), "{name}");
        let Stored { height, width, channels, alpha, .. } = stored;
        let found = Header { height, width, channels, alpha, kind: kind(&stored.numbers) };
        assert_eq!(found, told, "{name}");
        let raw = fs::read(folder().join(format!("{name}.raw"))).unwrap();
        assert_same(name, &stored.numbers, &raw);
        // The limit is exact.
        let bytes = raw.len() as u64;
        let is_large = |limit| matches!(read(name, &file, limit), Err(Problem::TooLarge { .. }));
        assert!(is_large(bytes - 1) && !is_large(bytes), "{name}");
        compared += 1;
        numbers += stored.height * stored.width * stored.channels;
    }
    eprintln!("{compared} files of {numbers} numbers compared, {refused} refused");
    assert!(compared > 100 && refused > 20);
}

/// A file that ends anywhere is never read as if it were whole, unless only what is not needed is cut off.
#[test]
fn cut_files_are_refused_without_a_panic() {
    for entry in index() {
        let name = entry["file"].as_str().unwrap();
        let file = fs::read(folder().join(name)).unwrap();
        if file.len() > 3000 || entry["refused"].is_string() {
            continue;
        }
        let whole = format!("{:?}", read(name, &file, ALL).unwrap());
        for length in 0..file.len() {
            let cut = read(name, &file[..length], ALL);
            match cut {
                Ok(cut) => assert_eq!(format!("{cut:?}"), whole, "{name} cut to {length}"),
                Err(Problem::Damaged(_)) => {}
                Err(other) => panic!("{name} cut to {length}: {other:?}"),
            }
        }
    }
}

/// Any byte may be wrong: there is no panic, and no memory beyond the limit is asked for.
#[test]
fn changed_files_do_not_panic() {
    let mut state = 1_u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    for entry in index() {
        let name = entry["file"].as_str().unwrap();
        let file = fs::read(folder().join(name)).unwrap();
        for _ in 0..60 {
            let mut changed = file.clone();
            for _ in 0..1 + random() % 4 {
                // Most of what a file tells is near its start or its end.
                let at = match random() % 3 {
                    0 => random() % changed.len().min(300),
                    1 => changed.len() - 1 - random() % changed.len().min(600),
                    _ => random() % changed.len(),
                };
                changed[at] = [0, 1, 0x7f, 0x80, 0xff, random() as u8][random() % 6];
            }
            let _ = header(name, &changed);
            let _ = read(name, &changed, 1 << 20);
        }
    }
}
