//! Tests that links in the documentation lead to files and headings that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// The address under which the packages' pages link to the project's files.
const REPOSITORY: &str = "https://github.com/mae-rs/mae-rs/tree/main/";

/// The links of a page, and the anchors of its headings.
#[derive(Default)]
struct Page {
    links: Vec<String>,
    /// Inline code, such as names of files.
    code: Vec<String>,
    headings: BTreeSet<String>,
}

impl Page {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let (mut page, mut heading) = (Self::default(), None::<String>);
        for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
            let in_span = matches!(event, Event::Code(_));
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    page.headings.extend(heading.take().map(|title| name_of(&title)));
                }
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(dest_url.into_string());
                }
                Event::Text(text) | Event::Code(text) => {
                    if in_span {
                        page.code.push(text.to_string());
                    }
                    if let Some(title) = &mut heading {
                        title.push_str(&text);
                    }
                }
                _ => {}
            }
        }
        page
    }
}

/// The anchor that GitHub gives a heading.
fn name_of(title: &str) -> String {
    let kept = title
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || "-_ ".contains(*c))
        .collect::<String>();
    kept.replace(' ', "-")
}

/// Collects the project's pages, without build output.
fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && !["target", "runs", "data"].contains(&name.as_str()) {
            pages(&path, found);
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
}

/// The project's folder, and all its pages.
fn project() -> (PathBuf, BTreeMap<PathBuf, Page>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().canonicalize().unwrap();
    let mut paths = Vec::new();
    pages(&root, &mut paths);
    let pages: BTreeMap<PathBuf, Page> =
        paths.into_iter().map(|path| (path.clone(), Page::read(&path))).collect();
    assert!(
        pages.contains_key(&root.join("README.md")) && pages.contains_key(&root.join("docs/training.md"))
    );
    (root, pages)
}

#[test]
fn the_book_has_every_page() {
    let (root, pages) = project();
    let summary = &pages[&root.join("docs/SUMMARY.md")];
    let listed: BTreeSet<_> =
        summary.links.iter().map(|link| root.join("docs").join(link).canonicalize().unwrap()).collect();
    for path in
        pages.keys().filter(|path| path.starts_with(root.join("docs")) && !path.ends_with("SUMMARY.md"))
    {
        assert!(listed.contains(path), "docs/SUMMARY.md does not list {}", path.display());
    }
}

#[test]
fn files_that_pages_name_exist() {
    let (root, pages) = project();
    let crates = fs::read_dir(root.join("crates")).unwrap();
    let crates: Vec<PathBuf> = crates.map(|entry| entry.unwrap().path()).collect();
    let (mut count, mut missing) = (0, Vec::new());
    for (path, page) in &pages {
        for name in &page.code {
            let first = name.split('/').next().unwrap_or_default();
            // Some pages name files below `crates`, or below a crate that the text names.
            let folders = [root.clone(), root.join("crates"), path.with_file_name("")];
            let folders = folders.iter().chain(&crates);
            let is_path = name.contains('/')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || "/-_.".contains(c))
                && (first.starts_with("mae-")
                    || ["crates", "docs", "examples", "fuzz", "scripts", "xtask", "src", "tests"]
                        .contains(&first));
            if is_path {
                count += 1;
                if !folders.into_iter().any(|folder| folder.join(name).exists()) {
                    missing.push(format!("{}: {name}", path.strip_prefix(&root).unwrap().display()));
                }
            }
        }
    }
    assert!(missing.is_empty(), "files that do not exist:\n{}", missing.join("\n"));
    assert!(count > 100, "{count} files");
}

#[test]
fn links_lead_somewhere() {
    let (root, pages) = project();
    let mut broken = Vec::new();
    for (path, page) in &pages {
        for link in &page.links {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file.strip_prefix(REPOSITORY) {
                Some(file) => root.join(file).canonicalize(),
                None if file.contains("://") || file.starts_with("mailto:") => continue,
                None if file.is_empty() => Ok(path.clone()),
                None => path.with_file_name(file).canonicalize(),
            };
            let leads = target.is_ok_and(|target| {
                let known = pages.get(&target).is_some_and(|page| page.headings.contains(heading));
                heading.is_empty() || known || target.extension().is_none_or(|kind| kind != "md")
            });
            if !leads {
                broken.push(format!("{}: {link}", path.strip_prefix(&root).unwrap().display()));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
}
