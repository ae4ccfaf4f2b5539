//! Manual pages.

#[allow(dead_code, reason = "other tests use the rest")]
mod common;

use std::fs;
use std::path::Path;

use common::{mae, refused};

fn help(at: &Path, args: &str) -> String {
    String::from_utf8(mae(at, args).stdout).unwrap()
}

/// The options that a text names.
fn options(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    words.filter(|word| word.len() > 2 && word.starts_with("--"))
}

#[test]
fn each_verb_has_a_page_with_its_options() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    assert!(mae(at, "man share/man1").status.success());
    let page = |name: &str| fs::read_to_string(at.join("share/man1").join(name)).unwrap().replace("\\-", "-");

    let overview = help(at, "--help");
    let verbs = overview.split_once("Commands:\n").unwrap().1.lines().take_while(|line| !line.is_empty());
    let verbs: Vec<_> = verbs.filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    let verbs: Vec<_> = verbs.into_iter().filter(|verb| !["", "help"].contains(verb)).collect();
    assert!(verbs.contains(&"pretrain") && verbs.contains(&"man"), "{verbs:?}");
    for verb in &verbs {
        let page = page(&format!("mae-{verb}.1"));
        assert!(page.contains(&format!("mae-{verb} - ")), "{page}");
        let help = help(at, &format!("{verb} --help"));
        assert!(options(&help).any(|option| option == "--help"), "{help}");
        for option in options(&help) {
            assert!(page.contains(option), "{option} is not in the page of {verb}");
        }
    }
    let all = page("mae.1");
    verbs.iter().for_each(|verb| assert!(all.contains(&format!("mae-{verb}(1)")), "{verb} is not in mae.1"));
    assert_eq!(fs::read_dir(at.join("share/man1")).unwrap().count(), verbs.len() + 1);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    refused(folder.path(), "man file/man1", &["cannot make file/man1"]);
}
