//! What pre-training is worth: the command `mae` on several seeds.

pub mod digits;
mod done;
pub mod segment;

use std::ffi::OsStr;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::programs::target;

/// A run of the command `mae`.
pub struct Mae(Command);

/// The command with these arguments.
pub fn mae(args: &[impl AsRef<OsStr>]) -> Mae {
    let mut command = Command::new(target().join("release/mae"));
    command.args(args);
    Mae(command)
}

impl Mae {
    /// The same with more arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.0.args(args);
        self
    }

    /// What it prints.
    pub fn succeed(mut self) -> Result<Vec<u8>> {
        let output = self.0.output().context("cannot start mae")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(output.stdout)
    }

    /// A share in the JSON that it prints, in percent.
    pub fn percent(self, key: &str) -> Result<f64> {
        let report: Value = serde_json::from_slice(&self.succeed()?)?;
        Ok(100.0 * report[key].as_f64().with_context(|| format!("it printed no {key}"))?)
    }
}
