//! Tests that the help in docs/cli.md is what the program prints.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

/// `MAE_UPDATE_DOCS=1 cargo test -p mae-cli --test docs` updates the help.
const UPDATE: &str = "MAE_UPDATE_DOCS";

#[test]
fn every_verbs_help_is_the_programs() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let written = std::fs::read_to_string(&path).unwrap();
    let help = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_mae")).args(args).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let (mut fresh, mut lines, mut verbs) = (String::new(), written.lines(), Vec::new());
    while let Some(line) = lines.next() {
        writeln!(fresh, "{line}").unwrap();
        let Some(verb) = line.strip_prefix("$ mae ").and_then(|args| args.strip_suffix(" -h")) else {
            continue;
        };
        let args: Vec<_> = verb.split(' ').chain(["-h"]).collect();
        // A subcommand of a verb is listed in that verb's help.
        verbs.extend((args.len() == 2).then_some(verb));
        help(&args).trim_end().lines().for_each(|line| writeln!(fresh, "{}", line.trim_end()).unwrap());
        let end = lines.find(|line| line.starts_with("```")).expect("the block ends");
        writeln!(fresh, "{end}").unwrap();
    }
    let list = help(&["-h"]);
    let list = list.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    let list = list.map_while(|line| line.split_whitespace().next()).filter(|verb| *verb != "help");
    assert_eq!(verbs, list.collect::<Vec<_>>(), "the verbs in docs/cli.md");
    assert!(verbs.iter().all(|verb| written.contains(&format!("| `{verb}` |"))), "the table of verbs");
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, fresh).unwrap();
        return;
    }
    let differs = written.lines().zip(fresh.lines()).find(|(written, fresh)| written != fresh);
    assert_eq!(differs, None, "docs/cli.md is not what the program says; {UPDATE}=1 writes it anew");
    assert_eq!(written.lines().count(), fresh.lines().count());
}
