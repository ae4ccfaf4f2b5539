//! Tests that `mae` understands every command in the documentation, and that the options which pages name exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser};

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
    // The programs that `cargo xtask train` starts take the options of `mae pretrain`.
    let training = line.split_once(" -- ").filter(|(program, _)| program.starts_with("cargo xtask train"));
    let training = training.map(|(_, options)| format!("mae pretrain {options}"));
    let line = training.as_deref().unwrap_or(line);
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
    let programs = ["mae ", "mpirun -n 2 mae ", "cargo xtask train"];
    programs.iter().any(|program| line.starts_with(program))
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

/// Options in pages that belong to cargo, its test programs, TensorBoard and 7-Zip.
const OF_OTHERS: [&str; 10] = [
    "--release",
    "--help",
    "--test",
    "--ignored",
    "--nocapture",
    "--example",
    "--logdir",
    "--version",
    "--lzma2",
    "--x86",
];

/// The long options of a command and of its verbs.
fn options(command: &clap::Command, found: &mut BTreeSet<String>) {
    for argument in command.get_arguments() {
        found.extend(
            argument.get_long_and_visible_aliases().into_iter().flatten().map(|name| format!("--{name}")),
        );
    }
    command.get_subcommands().for_each(|verb| options(verb, found));
}

/// The long options of a program's source: fields with `#[arg(long)]`, and strings that begin with `--`.
fn options_of_source(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let kind = path.extension().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            options_of_source(&path, found);
        } else if kind == "rs" {
            let text = fs::read_to_string(&path).unwrap();
            found.extend(text.split('"').filter(|part| part.starts_with("--")).map(str::to_owned));
            let mut lines = text.lines().map(str::trim);
            while let Some(line) = lines.next() {
                let mut attribute = line.to_owned();
                while attribute.starts_with("#[arg(") && !attribute.ends_with(")]") {
                    attribute += lines.next().expect("an attribute ends");
                }
                if !attribute.starts_with("#[arg(") || !attribute.contains("long") {
                    continue;
                }
                let field = lines.by_ref().find(|line| !line.starts_with('#')).unwrap_or_default();
                let field = field.trim_start_matches("pub ").split(':').next().unwrap_or_default();
                let given = attribute.split_once("long = \"").and_then(|(_, name)| name.split('"').next());
                found.insert(format!("--{}", given.unwrap_or(field).replace('_', "-")));
            }
        } else if kind == "py" {
            let text = fs::read_to_string(&path).unwrap();
            found.extend(text.split('"').filter(|part| part.starts_with("--")).map(str::to_owned));
        }
    }
}

/// The code spans of a line that begin with a long option.
fn named_options(line: &str) -> impl Iterator<Item = &str> {
    let spans = line.split('`').skip(1).step_by(2);
    let words = spans.filter(|span| span.starts_with("--")).flat_map(|span| span.split([' ', '=', '[']));
    words.filter(|word| word.starts_with("--") && word.len() > 2)
}

#[test]
fn options_that_pages_name_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut known: BTreeSet<String> = OF_OTHERS.map(str::to_owned).into();
    options(&Cli::command(), &mut known);
    for folder in ["xtask/src", "scripts", "crates/mae-data/examples", "crates/mae-trainer/examples"] {
        options_of_source(&root.join(folder), &mut known);
    }
    let (mut count, mut unknown) = (0, Vec::new());
    for path in pages().into_iter().filter(|path| path.extension().is_some_and(|kind| kind == "md")) {
        let text = fs::read_to_string(&path).unwrap();
        let others = path.ends_with("coming-from.md");
        let mut in_code = false;
        for line in text.lines() {
            in_code ^= line.starts_with("```");
            if in_code {
                continue;
            }
            // Only the second column of that page has our options.
            let ours = if others { line.split('|').nth(2).unwrap_or_default() } else { line };
            for option in named_options(ours) {
                count += 1;
                if !known.contains(option) {
                    unknown.push(format!("{}: {option}", path.display()));
                }
            }
        }
    }
    assert!(unknown.is_empty(), "options that do not exist:\n{}", unknown.join("\n"));
    assert!(count > 200, "{count} options");
}
