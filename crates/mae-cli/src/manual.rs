//! Manual pages of the command and of each verb.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use clap::Command;
use clap_mangen::Man;

/// Writes `mae.1` and a `mae-VERB.1` for each visible verb into a folder.
pub fn write(command: Command, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let source = format!("mae {}", env!("CARGO_PKG_VERSION"));
    let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned();
    for page in verbs.chain([command.clone()]) {
        let page = Man::new(page).source(&source);
        page.generate_to(folder)
            .with_context(|| format!("cannot write {}", folder.join(page.get_filename()).display()))?;
    }
    Ok(())
}
