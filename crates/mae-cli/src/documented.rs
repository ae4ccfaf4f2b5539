//! Tests that `mae` understands every command in the documentation.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;

use crate::Cli;

/// The pages that contain commands.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let files = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<_> = files.filter(|path| path.extension().is_some_and(|kind| kind == "md")).collect();
    pages.extend([root.join("README.md"), root.join("crates/mae-cli/README.md")]);
    for recipes in fs::read_dir(root.join("crates/mae-trainer/recipes")).unwrap() {
        pages.extend(fs::read_dir(recipes.unwrap().path()).unwrap().map(|recipe| recipe.unwrap().path()));
    }
    pages
}

/// Returns the words of the `mae` command in a line of a code block, or of a recipe's comment.
fn command(line: &str) -> Option<Vec<String>> {
    let line = line.trim_start_matches("# Command: ").trim_start_matches("$ ");
    let line = &line[line.find("mae ")?..];
    // An ellipsis stands for omitted arguments: such a line is no complete command.
    if line.contains('…') {
        return None;
    }
    let mut words = shlex::split(line)?;
    let end = words.iter().position(|word| [">", "|", "#", "&&"].contains(&word.as_str()));
    words.truncate(end.unwrap_or(words.len()));
    Some(words)
}

/// Whether a line starts with a `mae` command, possibly run on several ranks by `mpirun`.
fn begins(line: &str) -> bool {
    let line = line.trim_start_matches("# Command: ").trim_start_matches("$ ");
    line.starts_with("mae ") || line.starts_with("mpirun -n 2 mae ")
}

#[test]
fn documented_commands_are_understood() {
    let (mut count, mut wrong) = (0, Vec::new());
    for path in pages() {
        let text = fs::read_to_string(&path).unwrap();
        let is_recipe = path.extension().is_some_and(|kind| kind == "toml");
        let mut lines = text.lines().peekable();
        let mut in_code = is_recipe;
        while let Some(line) = lines.next() {
            // Only code blocks without a language contain commands.
            if let Some(language) = line.strip_prefix("```") {
                in_code = !in_code && language.is_empty();
            }
            // A command that the program rejects is followed by its error.
            let refused = lines.peek().is_some_and(|next| next.starts_with("error:"));
            if !in_code || !begins(line) || refused {
                continue;
            }
            // In tables of commands, two spaces separate a command from its description.
            let line = line.split("  ").next().unwrap_or(line);
            let Some(words) = command(line) else { continue };
            count += 1;
            if let Err(error) = Cli::try_parse_from(&words)
                && error.exit_code() != 0
            {
                wrong.push(format!("{}: {line}\n{error}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "commands that are not understood:\n{}", wrong.join("\n"));
    assert!(count > 50, "{count} commands");
}
