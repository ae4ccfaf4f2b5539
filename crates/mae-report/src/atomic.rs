//! Files that are written completely or not at all.

use crate::ReportError;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Writes `path` through a temporary file in the same folder. Readers of `path`, now or after a power cut, find either
/// the old content or all of the new.
///
/// `fill` writes the content. If it fails, or the process dies in it, `path` is as it was. A process that dies leaves a
/// file named `.<name>.<random>.tmp` behind, which nothing reads.
///
/// # Errors
/// [`ReportError::Write`] if the folder is missing, not writable or full, or if `fill` fails.
pub fn write_atomic(
    path: impl AsRef<Path>,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), ReportError> {
    let path = path.as_ref();
    replace(path, fill).map_err(|source| ReportError::Write { path: path.to_owned(), source })
}

/// Creates a folder in an existing one, unless it exists already.
///
/// Unlike `create_dir_all`, it creates no parents: a run's folder that somebody deleted does not come back half.
///
/// # Errors
/// [`ReportError::Write`] if the parent is missing or not writable.
pub fn make_folder(path: impl AsRef<Path>) -> Result<(), ReportError> {
    let path = path.as_ref();
    match std::fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map_err(|source| ReportError::Write { path: path.to_owned(), source }),
    }
}

fn replace(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let name =
        path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "names no file"))?;
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut prefix = std::ffi::OsString::from(".");
    prefix.push(name);
    prefix.push(".");
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(".tmp");
    // tempfile makes its files readable by their owner only. These must be as readable as any other, within the umask.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));

    let temporary = builder.tempfile_in(folder)?;
    let mut buffered = BufWriter::new(temporary.as_file());
    fill(&mut buffered)?;
    buffered.flush()?;
    drop(buffered);
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|error| error.error)?;
    // The new name is stored in the folder, which must reach the disk too. Only Unix opens a folder as a file.
    if cfg!(unix) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::process::Command;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        write_atomic(&path, |file| file.write_all(b"old")).unwrap();
        let error = write_atomic(&path, |file| {
            file.write_all(&[1; 100_000])?;
            Err(io::Error::other("disk full"))
        })
        .unwrap_err();
        assert_eq!(error.to_string(), format!("cannot write {}", path.display()));
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "disk full");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["state"]);
    }

    #[test]
    fn a_reader_never_sees_half_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let write = |byte| write_atomic(&path, |file| file.write_all(&vec![byte; 50_000])).unwrap();
        write(0);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let seen = fs::read(&path).unwrap();
                    assert!(seen.len() == 50_000 && seen.iter().all(|&byte| byte == seen[0]));
                }
            });
            (1..=50).for_each(write);
            done.store(true, Ordering::Relaxed);
        });
    }

    /// The child process of the next test: dies while it writes.
    #[test]
    #[ignore = "aborts on purpose"]
    fn dies_halfway() {
        let Some(path) = std::env::var_os("MAE_TEST_DIES_WRITING") else { return };
        let _ = write_atomic(Path::new(&path), |file| {
            file.write_all(&[1; 100_000])?;
            file.flush()?;
            std::process::abort()
        });
    }

    #[test]
    fn a_process_that_dies_halfway_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        write_atomic(&path, |file| file.write_all(b"old")).unwrap();
        let test = concat!(module_path!(), "::dies_halfway");
        let test = test.split_once("::").unwrap().1;
        let died = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--ignored", "--test-threads=1"])
            .env("MAE_TEST_DIES_WRITING", &path)
            .output()
            .unwrap();
        assert!(!died.status.success());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert!(
            names(folder.path()).iter().any(|name| name.starts_with(".state.") && name.ends_with(".tmp"))
        );
    }

    #[cfg(unix)]
    #[test]
    fn is_as_readable_as_any_other_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let [ours, plain] = ["ours", "plain"].map(|name| folder.path().join(name));
        write_atomic(&ours, |file| file.write_all(b"x")).unwrap();
        fs::write(&plain, b"x").unwrap();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }

    #[test]
    fn names_the_file_it_cannot_write() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().join("missing").join("state"), folder.path().join("..")] {
            let error = write_atomic(&path, |_| Ok(())).unwrap_err();
            assert_eq!(error.to_string(), format!("cannot write {}", path.display()));
        }
    }
}
