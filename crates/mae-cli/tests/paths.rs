//! Paths that are not UTF-8.
#![cfg(target_os = "linux")]

#[allow(dead_code, reason = "other tests use the rest")]
mod common;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Output};

use common::setting;

fn mae(at: &Path, args: &[&OsStr]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mae"));
    command.current_dir(at).env("RUST_BACKTRACE", "0").args(args).output().unwrap()
}

/// Splits a command into words, in which `@` becomes a name in Latin-1.
fn args(text: &str) -> Vec<OsString> {
    let name = |word: &str| {
        let parts: Vec<&[u8]> = word.split('@').map(str::as_bytes).collect();
        OsStr::from_bytes(&parts.join(&b"caf\xe9"[..])).to_owned()
    };
    text.split_whitespace().map(name).collect()
}

fn run(at: &Path, text: &str) -> (Option<i32>, String) {
    let args = args(text);
    let output = mae(at, &args.iter().map(OsString::as_os_str).collect::<Vec<_>>());
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (output.status.code(), said.concat())
}

const SMALL: &str = "--image-size 16 --patch-size 4 --batch-size 4 --epochs 1 --quiet";

#[test]
fn everything_works_or_is_refused_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    setting(at);
    let latin = |name: &str| at.join(&args(name)[0]);
    fs::create_dir(latin("@-run")).unwrap();
    fs::copy(at.join("model.safetensors"), latin("@-run/model.safetensors")).unwrap();
    fs::copy(at.join("model.safetensors"), latin("@.safetensors")).unwrap();
    for class in ["red", "blue"] {
        fs::create_dir_all(latin(&format!("@/{class}"))).unwrap();
        for i in 0..5 {
            let name = at.join(format!("train/{class}/{i}.png"));
            fs::copy(&name, latin(&format!("@/{class}/{i}.png"))).unwrap();
        }
        fs::copy(at.join(format!("train/{class}/0.png")), latin(&format!("@/{class}/@.png"))).unwrap();
    }

    for text in [
        "inspect @.safetensors",
        "inspect --json @.safetensors",
        "inspect @-run",
        "embed @.safetensors @ @.npy --quiet",
        "embed @.safetensors @ @.parquet --quiet",
        "knn @-run @ @ --k 3 --quiet",
        "doctor @",
        "doctor @ --json",
        "attention @.safetensors @ @-maps",
        "reconstruct @.safetensors @/red/@.png @-pictures",
        "convert @.safetensors --to timm @-timm.safetensors",
        "convert @.safetensors --to transformers @-transformers",
        &format!("pretrain --data train --out @-pretrained {SMALL} --stop-after 1"),
        "pretrain --resume @-pretrained --quiet",
        "finetune . train train --out @-tuned --epochs 1 --batch-size 4 --quiet",
        "finetune --resume @-tuned",
    ] {
        let (status, said) = run(at, text);
        let expected = if text.contains("--stop-after") { 130 } else { 0 };
        assert_eq!(status, Some(expected), "{text}: {said}");
    }
    for (text, field) in [
        (format!("pretrain --data @ --out none {SMALL}"), "data.path"),
        (format!("pretrain --data train --val @ --out none {SMALL}"), "data.val"),
        (format!("pretrain --data @ --dry-run {SMALL}"), "data.path"),
        ("finetune @.safetensors train train --out none --epochs 1".to_owned(), "model.weights"),
        (format!("pretrain --data train --out none --init-from @.safetensors {SMALL}"), "model.init_from"),
        ("finetune . @ train --out none --epochs 1".to_owned(), "data.path"),
        ("probe . train @ --out none --epochs 1".to_owned(), "data.val"),
    ] {
        let (status, said) = run(at, &text);
        assert_eq!(status, Some(1), "{text}: {said}");
        assert!(said.contains(&format!("{field} is ")) && said.contains("must be UTF-8"), "{text}: {said}");
        assert!(!at.join("none").exists(), "{text}");
    }
    // A link to such a folder works.
    std::os::unix::fs::symlink(latin("@"), at.join("link")).unwrap();
    let (status, said) = run(at, &format!("pretrain --data link --out linked {SMALL}"));
    assert_eq!(status, Some(0), "{said}");
}
