//! The log of unreadable files in a run's folder, which names each once.

use mae_data::BadFile;
use mae_report::write_atomic;

use super::Context;
use crate::TrainerError;

/// The name of the log.
pub(crate) const BAD_FILES: &str = "bad_files.log";

impl Context {
    /// Adds files that any rank could not read to `bad_files.log`, once each. All ranks must call it.
    pub(crate) fn log_bad_files(&self, files: Vec<BadFile>) -> Result<(), TrainerError> {
        let reasons: Vec<String> = files.into_iter().map(|file| file.reason).collect();
        let reasons = self.ranks().gather(reasons.join("\n").as_bytes())?;
        if !self.ranks().is_main() {
            return Ok(());
        }
        let path = self.path(BAD_FILES);
        let mut lines: Vec<String> =
            std::fs::read_to_string(&path).unwrap_or_default().lines().map(str::to_owned).collect();
        let known = lines.len();
        for reason in String::from_utf8_lossy(&reasons.join(&b'\n')).lines() {
            if !reason.is_empty() && !lines.iter().any(|line| line == reason) {
                lines.push(reason.to_owned());
            }
        }
        match lines.len() > known {
            true => Ok(write_atomic(&path, |file| file.write_all((lines.join("\n") + "\n").as_bytes()))?),
            false => Ok(()),
        }
    }

    /// A line about the files in `bad_files.log`, if there are any.
    pub(crate) fn unreadable(&self) -> Option<String> {
        let path = self.path(BAD_FILES);
        let files = std::fs::read_to_string(&path).unwrap_or_default().lines().count();
        (files > 0).then(|| format!("{files} file(s), named in {}", path.display()))
    }
}
