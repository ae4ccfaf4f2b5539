//! The environment of a program: its images, and a disk that fills up or cannot be written.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The image that breaks.
pub const BROKEN: &str = "442.bmp";

/// Writes 480 images in two classes.
pub fn write_images(folder: &Path) -> Result<()> {
    for number in 0..480_usize {
        let class = folder.join(if number % 2 == 0 { "even" } else { "odd" });
        fs::create_dir_all(&class)?;
        fs::write(class.join(format!("{number:03}.bmp")), bitmap(number))?;
    }
    Ok(())
}

/// An image of 96 x 80 pixels in the simplest format.
fn bitmap(number: usize) -> Vec<u8> {
    const WIDTH: u32 = 96;
    const HEIGHT: u32 = 80;
    let mut file = b"BM".to_vec();
    for field in [54 + 3 * WIDTH * HEIGHT, 0, 54, 40, WIDTH, HEIGHT, 1 | 24 << 16, 0, 0, 0, 0, 0, 0] {
        file.extend(field.to_le_bytes());
    }
    let pixel = |at: usize| [(at * (number + 3)) as u8, (at / 96 * 3) as u8, (number * 2 + at / 7) as u8];
    file.extend((0..(WIDTH * HEIGHT) as usize).flat_map(pixel));
    file
}

/// Replaces one of the images by bytes that are no image.
pub fn break_image(folder: &Path) -> Result<Undo> {
    let path = folder.join("even").join(BROKEN);
    let undo = Undo::Restore(path.clone(), fs::read(&path)?);
    replace(&path, b"no image")?;
    Ok(undo)
}

/// Replaces a file in one step: it is the old or the new one, and never a part of one.
fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let new = path.with_file_name(".new");
    fs::write(&new, bytes)?;
    fs::rename(new, path).context("cannot replace an image")
}

/// How to undo a disturbance.
pub enum Undo {
    Nothing,
    Remove(PathBuf),
    Unmount(PathBuf),
    Restore(PathBuf, Vec<u8>),
}

impl Undo {
    pub fn undo(self) -> Result<()> {
        match self {
            Self::Nothing => Ok(()),
            Self::Remove(path) => Ok(fs::remove_file(path)?),
            Self::Unmount(path) => mount("umount", &["-l"], &path),
            Self::Restore(path, bytes) => replace(&path, &bytes),
        }
    }
}

/// A small file system in memory, which is unmounted when dropped.
pub struct Disk {
    pub path: PathBuf,
    /// A read-only mount of the same files.
    read_only: PathBuf,
}

impl Disk {
    /// Mounts the file system, which needs the privilege to do so.
    pub fn mount(path: &Path) -> Result<Self> {
        let disk = Self { path: path.into(), read_only: path.with_extension("read-only") };
        fs::create_dir_all(&disk.path)?;
        fs::create_dir_all(&disk.read_only)?;
        mount("mount", &["-t", "tmpfs", "-o", "size=64m", "tmpfs"], &disk.path)?;
        mount("mount", &["--bind", &disk.path.to_string_lossy()], &disk.read_only)?;
        mount("mount", &["-o", "remount,bind,ro"], &disk.read_only)?;
        Ok(disk)
    }

    /// Fills the disk to the last byte.
    pub fn fill(&self) -> Result<Undo> {
        let path = self.path.join("filler");
        let mut file = fs::File::create(&path)?;
        while file.write_all(&[1; 4096]).is_ok() {}
        Ok(Undo::Remove(path))
    }

    /// Makes opening a file for writing fail. Files that are already open can still be written, because a file system
    /// cannot be made read-only while one is open.
    pub fn read_only(&self) -> Result<Undo> {
        mount("mount", &["--bind", &self.read_only.to_string_lossy()], &self.path)?;
        Ok(Undo::Unmount(self.path.clone()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        for path in [&self.read_only, &self.path] {
            while mount("umount", &["-l"], path).is_ok() {}
        }
    }
}

fn mount(program: &str, args: &[&str], path: &Path) -> Result<()> {
    let output = Command::new(program).args(args).arg(path).output();
    let output = output.with_context(|| format!("cannot start {program}"))?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
