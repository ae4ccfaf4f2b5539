//! A run that was killed, stopped or out of disk space resumes to the same result; a deleted folder is an error.
#![cfg(unix)]
#![allow(clippy::print_stdout, reason = "a test says what it met")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use image::RgbImage;

/// A small model with a checkpoint after every update, so that a killed process is often writing one.
const RUN: [&str; 12] = [
    "--data",
    "photos",
    "--image-size",
    "16",
    "--patch-size",
    "4",
    "--batch-size",
    "4",
    "--epochs",
    "100",
    "--checkpoint-steps",
    "1",
];

fn managed(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_managed"));
    command.current_dir(folder).args(args).stdout(Stdio::null());
    command
}

fn finish(mut command: Command) -> Output {
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Twelve images: 100 epochs are 300 updates of four.
fn images(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for i in 0..12u8 {
        let image = RgbImage::from_fn(24, 20, |x, y| image::Rgb([i * 20, x as u8 * 10, y as u8 * 10]));
        image.save(folder.join(format!("{i:02}.png"))).unwrap();
    }
}

/// Starts the run, or resumes it.
fn go_on(at: &Path) -> Command {
    match at.join("run/recipe.toml").exists() {
        true => managed(at, &["--resume", "run", "--quiet"]),
        false => managed(at, &[&RUN[..], &["--out", "run", "--quiet"]].concat()),
    }
}

/// The losses as text, and the bytes of the weights.
fn outcome(run: &Path) -> (Vec<String>, Vec<u8>) {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let loss = |line: &str| line.split("\"loss\":").nth(1).unwrap().split(',').next().unwrap().to_owned();
    let bytes = fs::read(run.join("model.safetensors")).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (text.lines().map(loss).collect(), bytes[8 + header..].to_vec())
}

fn signal(child: &Child, name: &str) {
    // The process may have ended meanwhile, which is no failure of the test.
    let _ = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
}

/// A duration of 0 to `most` seconds, different at each call and in each run of the test.
fn moment(most: f64) -> Duration {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    Duration::from_secs_f64(most * f64::from(nanos % 1_000_003) / 1_000_003.0)
}

#[test]
fn killed_at_any_moment_a_run_ends_with_the_same_weights() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    images(&at.join("photos"));
    finish(managed(at, &[&RUN[..], &["--out", "whole"]].concat()));
    let expected = outcome(&at.join("whole"));
    assert_eq!(expected.0.len(), 300);

    let updates =
        || fs::read(at.join("run/metrics.jsonl")).map_or(0, |text| text.split(|b| *b == b'\n').count());
    let mut writing = 0;
    for i in 0..25 {
        let before = updates();
        let mut child = go_on(at).spawn().unwrap();
        // Sometimes while it starts, sometimes some updates later, counted so that the machine's speed does not matter.
        match i % 6 {
            0 => std::thread::sleep(moment(0.1)),
            more => {
                while updates() < before + more && child.try_wait().unwrap().is_none() {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
        std::thread::sleep(moment(0.02));
        // SIGKILL, which cannot be caught, twenty times, and SIGTERM five times.
        signal(&child, if i % 5 == 4 { "-TERM" } else { "-KILL" });
        let status = child.wait().unwrap();
        assert!(!status.success(), "the run is too short for this test");
        let unfinished = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(".writing-");
        let checkpoints = fs::read_dir(at.join("run/checkpoints"));
        writing += checkpoints.map_or(0, |entries| entries.flatten().filter(unfinished).count());
    }
    println!("{writing} of 25 signals came while a checkpoint was written");
    finish(go_on(at));
    assert!(outcome(&at.join("run")) == expected);
}

#[test]
fn a_folder_belongs_to_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    images(&at.join("photos"));
    let mut first = go_on(at).spawn().unwrap();
    wait_for(&at.join("run/metrics.jsonl"), &mut first);
    let second = managed(at, &["--resume", "run"]).stderr(Stdio::piped()).output().unwrap();
    let error = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success() && error.contains("in use by another process"), "{error}");
    first.kill().unwrap();
    first.wait().unwrap();
    finish(go_on(at));
}

#[test]
fn a_deleted_folder_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    images(&at.join("photos"));
    let mut child = go_on(at).stderr(Stdio::piped()).spawn().unwrap();
    // The run is under way: its files are open, and it writes a checkpoint next.
    wait_for(&at.join("run/checkpoints"), &mut child);
    fs::rename(at.join("run"), at.join("gone")).unwrap();
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("cannot write") && error.contains("run"), "{error}");
}

/// Needs permission to mount: `cargo test -p managed -- --ignored` as root.
#[test]
#[ignore = "mounts a file system"]
fn a_full_or_read_only_disk_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    images(&at.join("photos"));
    finish(managed(at, &[&RUN[..], &["--out", "whole"]].concat()));
    let disk = Tmpfs::mount(&at.join("disk"), "24m");
    fs::create_dir(disk.0.join("run")).unwrap();
    std::os::unix::fs::symlink("disk/run", at.join("run")).unwrap();

    let mut child = go_on(at).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(&at.join("run/checkpoints/step-000000005"), &mut child);
    // Takes whatever space is left; the write itself fails.
    let _ = fs::write(disk.0.join("filler"), vec![1; 24 << 20]);
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("cannot write") && error.contains("No space left"), "{error}");
    let steps = fs::read_dir(at.join("run/checkpoints")).unwrap().flatten();
    assert!(steps.filter(|e| e.file_name().to_string_lossy().starts_with("step-")).count() >= 1);
    fs::remove_file(disk.0.join("filler")).unwrap();

    disk.remount("ro");
    let child = go_on(at).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("Read-only file system"), "{error}");
    disk.remount("rw");

    finish(go_on(at));
    assert!(outcome(&at.join("run")) == outcome(&at.join("whole")));
}

fn wait_for(path: &Path, child: &mut Child) {
    while !path.exists() {
        assert!(child.try_wait().unwrap().is_none(), "the run ended by itself");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A small file system in memory, unmounted when dropped.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(path: &Path, size: &str) -> Self {
        fs::create_dir(path).unwrap();
        let size = format!("size={size}");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(path).status().unwrap();
        assert!(mount.success(), "mounting needs the right to");
        Self(path.into())
    }

    fn remount(&self, mode: &str) {
        let options = format!("remount,{mode}");
        let mount = Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap();
        assert!(mount.success(), "a file is still open");
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
