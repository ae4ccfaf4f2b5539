//! Tests that `cargo xtask` understands every command in the documentation.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use clap::error::ErrorKind;

use crate::Cli;

/// The pages and scripts that contain commands.
fn texts() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let inside = |folder: &str| -> Vec<PathBuf> {
        fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let pages = inside("docs").into_iter().filter(|path| path.extension().is_some_and(|kind| kind == "md"));
    let others = ["README.md", "CONTRIBUTING.md", ".ci/run"].map(|name| root.join(name));
    pages.chain(others).chain(inside("crates").into_iter().map(|path| path.join("README.md"))).collect()
}

/// The words after `cargo` of a command, without what follows it. `None` if it is incomplete.
fn words(command: &str) -> Option<Vec<&str>> {
    let end = command.find(['#', '|', '>', '&', ';']).unwrap_or(command.len());
    // In tables of commands, two spaces separate a command from its description.
    let command = command[..end].split("  ").next()?.trim();
    let elided = command.contains('…') || command.ends_with('\\');
    (!elided).then(|| command.split(' ').skip(1).collect())
}

#[test]
fn documented_commands_are_understood() {
    let (mut count, mut wrong) = (0, Vec::new());
    for path in texts() {
        let text = fs::read_to_string(&path).unwrap();
        for line in text.lines() {
            let spans = line.split('`').skip(1).step_by(2);
            let commands = spans.chain([line.trim_start_matches("$ ")]);
            for command in commands.filter(|command| command.starts_with("cargo xtask ")) {
                let Some(words) = words(command) else { continue };
                count += 1;
                // A group of commands alone, such as `cargo xtask bench`, prints its help.
                if let Err(error) = Cli::try_parse_from(words)
                    && error.exit_code() != 0
                    && error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                {
                    wrong.push(format!("{}: {command}\n{error}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "commands that are not understood:\n{}", wrong.join("\n"));
    assert!(count > 50, "{count} commands");
}
