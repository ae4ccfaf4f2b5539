//! `cargo xtask docs`: the pages of `docs` as a book, and the API.

use std::fs;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use pulldown_cmark::{Event, Options, Parser, Tag};

use crate::programs::{cargo, install_tool, target};

/// The version of mdBook.
const MDBOOK: &str = "mdbook@0.5.4";

/// Where links of the book find files of the project that are not part of it.
const REPOSITORY: &str = "https://github.com/mae-rs/mae-rs/tree/main";

/// Builds the book, and the API unless `book_only`, and prints where they are.
pub fn docs(book_only: bool) -> Result<()> {
    let book = target().join("book");
    let source = book.join("source");
    if source.exists() {
        fs::remove_dir_all(&source).with_context(|| format!("cannot remove {}", source.display()))?;
    }
    copy(Path::new("docs"), &source.join("src"))?;
    // The project's README is the book's first page.
    fs::write(source.join("src/README.md"), for_the_book("README.md", &read(Path::new("README.md"))?))?;
    fs::rename(source.join("src/book.toml"), source.join("book.toml")).context("docs/book.toml")?;
    let mdbook = install_tool(&target().join("tools"), MDBOOK)?.join("mdbook");
    let html = std::path::absolute(book.join("html"))?;
    let built = Command::new(mdbook).arg("build").arg(&source).arg("--dest-dir").arg(&html).status();
    ensure!(built.context("cannot start mdbook")?.success(), "mdbook failed");
    println!("book: {}", html.join("index.html").display());
    if !book_only {
        let documented = cargo()
            .args(["doc", "--workspace", "--exclude=book", "--exclude=xtask", "--no-deps", "--quiet"])
            .status()?;
        ensure!(documented.success(), "cargo doc failed");
        println!("API:  {}", target().join("doc/mae/index.html").display());
    }
    Ok(())
}

/// Copies a folder; in pages, rewrites links.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let path = entry?.path();
        let copied = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy(&path, &copied)?;
            continue;
        }
        let kind = path.extension().unwrap_or_default();
        if kind == "md" {
            fs::write(&copied, for_the_book(&path.to_string_lossy(), &read(&path)?))?;
        } else if kind != "rs" && !path.ends_with("Cargo.toml") {
            fs::copy(&path, &copied).with_context(|| format!("cannot copy {}", path.display()))?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The text of a page, whose path is relative to the project's root, with links that work in the book.
fn for_the_book(page: &str, text: &str) -> String {
    let folder = Path::new(page).parent().unwrap_or(Path::new(""));
    let mut links: Vec<(Range<usize>, String)> = Vec::new();
    for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
        let (Event::Start(Tag::Link { dest_url, .. }) | Event::Start(Tag::Image { dest_url, .. })) = event
        else {
            continue;
        };
        // The destination stands behind the text, which may contain an image of its own.
        let Some(at) = text[range.clone()].rfind(&format!("]({dest_url}")) else { continue };
        let at = range.start + at + "](".len();
        links.push((at..at + dest_url.len(), destination(folder, &dest_url)));
    }
    links.sort_by_key(|(range, _)| range.start);
    let mut out = text.to_owned();
    for (range, link) in links.into_iter().rev() {
        out.replace_range(range, &link);
    }
    out
}

/// Where a link of a page in `folder` leads from the book's pages, which all lie in one folder.
fn destination(folder: &Path, link: &str) -> String {
    if link.contains("://") || link.starts_with(['#', '/']) || link.starts_with("mailto:") {
        return link.to_owned();
    }
    let mut path = PathBuf::new();
    for part in folder.join(link).components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            part => path.push(part),
        }
    }
    let path = path.to_string_lossy();
    match path.strip_prefix("docs/") {
        Some(page) => page.to_owned(),
        None if path == "README.md" || path.starts_with("README.md#") => path.into_owned(),
        None => format!("{REPOSITORY}/{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_pages_lead_to_pages_or_to_the_repository() {
        let text = "[a](../crates/mae-vit/src/lib.rs), [b](data.md#tar), [![p](images/p.png)](../README.md)\n\n\
            `[c](../c)`, [d](https://example.org), [e](#here)";
        let repository = "https://github.com/mae-rs/mae-rs/tree/main";
        let expected = format!(
            "[a]({repository}/crates/mae-vit/src/lib.rs), [b](data.md#tar), [![p](images/p.png)](README.md)\n\n\
            `[c](../c)`, [d](https://example.org), [e](#here)"
        );
        assert_eq!(for_the_book("docs/a.md", text), expected);
        assert_eq!(
            for_the_book("README.md", "[a](docs/a.md) [c](crates)"),
            format!("[a](a.md) [c]({repository}/crates)")
        );
    }
}
