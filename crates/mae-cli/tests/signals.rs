//! Signals that come twice, or from a terminal that closes.
#![cfg(target_os = "linux")]

#[allow(dead_code, reason = "other tests use the rest")]
mod common;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::setting;

/// Starts a run that does not end on its own, and waits for its first updates.
fn begun(at: &Path, program: &mut Command, out: &str) -> Child {
    let args =
        "pretrain --data train --image-size 16 --patch-size 4 --batch-size 4 --epochs 1000000 --quiet --out";
    let mut child =
        program.current_dir(at).args(args.split(' ')).arg(out).stdout(Stdio::null()).spawn().unwrap();
    let metrics = at.join(out).join("metrics.jsonl");
    while fs::metadata(&metrics).map_or(0, |metadata| metadata.len()) == 0 {
        assert!(child.try_wait().unwrap().is_none(), "the run ended by itself");
        sleep(Duration::from_millis(10));
    }
    child
}

fn mae() -> Command {
    Command::new(env!("CARGO_BIN_EXE_mae"))
}

fn signal(child: &Child, names: &[&str]) {
    let kills = names.iter().map(|name| format!("kill {name} {}", child.id())).collect::<Vec<_>>().join("; ");
    assert!(Command::new("sh").args(["-c", &kills]).status().unwrap().success());
}

fn checkpoints(run: &Path) -> usize {
    fs::read_dir(run.join("checkpoints")).map_or(0, |entries| entries.count())
}

#[test]
fn however_often_a_signal_comes_at_once_the_run_stops_with_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    setting(at);
    let mut cases = vec![&["-TERM", "-TERM"][..], &["-INT", "-INT"], &["-TERM", "-INT", "-USR1"]];
    // Under `nohup`, SIGHUP is ignored.
    if !mask(std::process::id(), "SigIgn:", 1) {
        cases.extend([&["-HUP"][..], &["-HUP", "-TERM"]]);
    }
    for (i, names) in cases.into_iter().enumerate() {
        let out = format!("run-{i}");
        let mut child = begun(at, &mut mae(), &out);
        signal(&child, names);
        assert_eq!(child.wait().unwrap().code(), Some(130), "{names:?}");
        assert_eq!(checkpoints(&at.join(out)), 1, "{names:?}");
    }
}

#[test]
fn nohup_means_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    setting(at);
    let mut nohup = Command::new("nohup");
    let mut child = begun(at, nohup.arg(env!("CARGO_BIN_EXE_mae")).stderr(Stdio::null()), "run");
    signal(&child, &["-HUP"]);
    sleep(Duration::from_millis(500));
    assert!(child.try_wait().unwrap().is_none(), "SIGHUP ended it");
    signal(&child, &["-TERM"]);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn a_second_interrupt_that_is_meant_ends_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    setting(at);
    // One update takes minutes.
    let args =
        "pretrain --data train --preset small --repeats 16 --batch-size 16 --accum-iter 11 --quiet --out run";
    let mut child = mae().current_dir(at).args(args.split(' ')).stdout(Stdio::null()).spawn().unwrap();
    while !mask(child.id(), "SigCgt:", 2) {
        assert!(child.try_wait().unwrap().is_none(), "the run ended by itself");
        sleep(Duration::from_millis(10));
    }
    for (names, ms) in [(&["-INT", "-INT"][..], 500), (&["-TERM"], 700), (&["-TERM"], 200)] {
        signal(&child, names);
        sleep(Duration::from_millis(ms));
    }
    assert!(child.try_wait().unwrap().is_none(), "only Ctrl-C is meant");
    signal(&child, &["-INT"]);
    let asked = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(asked.elapsed() < Duration::from_secs(2));
    assert_eq!(checkpoints(&at.join("run")), 0);
}

/// Whether a signal is in one of the signal masks in `/proc/PID/status` of a process.
fn mask(process: u32, name: &str, signal: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
    u64::from_str_radix(mask.trim(), 16).unwrap() >> (signal - 1) & 1 == 1
}
