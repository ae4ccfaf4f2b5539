//! The packaging tools: maturin with zig from PyPI, cargo-deb from crates.io.

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::programs::{self, cargo};

/// The version of cargo-deb.
const CARGO_DEB: &str = "cargo-deb@3.8.0";

/// The installed tools.
pub struct Tools {
    path: OsString,
}

impl Tools {
    /// Installs missing tools into a folder, given by an absolute path.
    pub fn install(folder: &Path) -> Result<Self> {
        let python = programs::environment(&folder.join("python"))?;
        programs::install(&python, "scripts/requirements-dist.txt")?;
        let deb = programs::install_tool(folder, CARGO_DEB)?;
        let mut path = vec![folder.join("python/bin"), deb];
        path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
        Ok(Self { path: env::join_paths(path)? })
    }

    /// Creates a command that finds the tools.
    pub fn command(&self, program: &str) -> Command {
        let mut command = if program == "cargo" { cargo() } else { Command::new(program) };
        command.env("PATH", &self.path);
        command
    }
}

/// Runs a command that must succeed.
pub fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("cannot start {program}"))?;
    ensure!(status.success(), "{program} failed");
    Ok(())
}
