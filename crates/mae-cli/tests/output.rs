//! Standard output that is closed or full.
#![cfg(unix)]

#[allow(dead_code, reason = "other tests use the rest")]
mod common;

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::setting;

/// Runs the command with standard output and standard error redirected to `out` and `err`.
fn with(at: &Path, args: &str, out: impl Into<Stdio>, err: impl Into<Stdio>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mae"));
    let command = command.current_dir(at).env("RUST_BACKTRACE", "0").args(args.split_whitespace());
    command.stdout(out).stderr(err).spawn().unwrap().wait_with_output().unwrap()
}

/// A pipe whose reader has stopped.
fn ended() -> std::io::PipeWriter {
    std::io::pipe().unwrap().1
}

fn full() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const PRETRAIN: &str = "pretrain --data train --image-size 16 --patch-size 4 --batch-size 4 --epochs 2";
const FINETUNE: &str = "finetune . train train --epochs 2 --batch-size 4";

#[test]
fn what_was_asked_for_and_nobody_reads_ends_quietly() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    setting(at);
    for args in ["inspect .", "inspect --json .", "doctor train", "doctor train --json", "completions bash"] {
        let output = with(at, args, ended(), Stdio::piped());
        assert_eq!((output.status.code(), text(&output)), (Some(0), String::new()), "{args}");
        let output = with(at, args, full(), Stdio::piped());
        let said = "error: cannot write to standard output: No space left on device (os error 28)\n";
        assert_eq!((output.status.code(), text(&output).as_str()), (Some(1), said), "{args}");
    }
    for args in ["knn . train train --k 3 --quiet", "knn . train train --k 3 --quiet --json"] {
        assert_eq!(with(at, args, ended(), Stdio::piped()).status.code(), Some(0), "{args}");
        assert_eq!(with(at, args, full(), Stdio::piped()).status.code(), Some(1), "{args}");
    }
}

#[test]
fn work_goes_on_though_nobody_reads() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    setting(at);
    let warning = "warning: cannot write to standard output: No space left on device (os error 28)\n";
    for (args, made) in [
        (PRETRAIN, "model.safetensors"),
        (FINETUNE, "scores.json"),
        ("embed . train --quiet", ""),
        ("attention . train", "000000-0.png"),
        ("convert . --to timm", ""),
    ] {
        let out = |name: &str| match args.split(' ').next() {
            Some("pretrain" | "finetune") => format!("--out {name}"),
            Some("attention") => name.to_owned(),
            Some("embed") => format!("{name}.npy"),
            _ => format!("{name}.safetensors"),
        };
        let there = |name: &str| {
            let made = if made.is_empty() { out(name) } else { format!("{name}/{made}") };
            at.join(made).exists()
        };
        let verb = args.split(' ').next().unwrap();
        let [ended_in, full_in, both_in] = ["ended", "full", "both"].map(|how| format!("{verb}-{how}"));
        let output = with(at, &format!("{args} {}", out(&ended_in)), ended(), Stdio::piped());
        assert_eq!((output.status.code(), text(&output)), (Some(0), String::new()), "{args}");
        assert!(there(&ended_in), "{args}");
        let output = with(at, &format!("{args} {}", out(&full_in)), full(), Stdio::piped());
        assert_eq!((output.status.code(), text(&output).as_str()), (Some(0), warning), "{args}");
        assert!(there(&full_in), "{args}");
        let output = with(at, &format!("{args} {}", out(&both_in)), full(), full());
        assert_eq!(output.status.code(), Some(0), "{args}");
        assert!(there(&both_in), "{args}");
    }
}

#[test]
fn errors_that_nobody_reads_are_no_panics() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    setting(at);
    fs::write(at.join("train/red/9.png"), "no image").unwrap();
    for err in [|| Stdio::from(ended()), || Stdio::from(full())] {
        assert_eq!(with(at, "inspect nowhere", Stdio::null(), err()).status.code(), Some(1));
        assert_eq!(with(at, "attention . train pictures", Stdio::null(), err()).status.code(), Some(1));
        assert_eq!(with(at, "knn . train train --k 3", Stdio::null(), err()).status.code(), Some(0));
    }
}
