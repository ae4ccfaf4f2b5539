//! Lists the crates that are linked into the program, with their licences.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::programs::cargo;

/// Prefixes of the names of licence files. The last two are those of fonts.
const NAMES: [&str; 8] = ["licen", "copying", "copyright", "notice", "unlicense", "patents", "ofl", "ufl"];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    manifest_path: PathBuf,
    /// `None` for the workspace's own packages.
    source: Option<String>,
}

/// Returns the list of crates, and the text of each licence once.
pub fn third_party(platform: &str) -> Result<String> {
    let linked = linked(platform)?;
    let metadata = output(&["metadata", "--format-version=1", "--locked", "--filter-platform", platform])?;
    let metadata: Metadata = serde_json::from_str(&metadata).context("cargo metadata printed no metadata")?;
    let mut text = "The program contains Rust's standard library (MIT OR Apache-2.0), LLVM's libunwind and compiler-rt\n\
        (Apache-2.0 WITH LLVM-exception), and these crates, whose sources are on https://crates.io:\n\n"
        .to_owned();
    let mut texts = BTreeMap::<String, Vec<String>>::new();
    for package in metadata.packages.into_iter().filter(|package| package.source.is_some()) {
        let name = format!("{} {}", package.name, package.version);
        if !linked.contains(&name) {
            continue;
        }
        writeln!(text, "{name:<40} {}", package.license.as_deref().unwrap_or("see below"))?;
        let folder = package.manifest_path.parent().context("a manifest lies in a folder")?;
        for licence in licences(folder)? {
            let crates = texts.entry(licence).or_default();
            if crates.last() != Some(&name) {
                crates.push(name.clone());
            }
        }
    }
    for (licence, crates) in texts {
        write!(text, "\n{}\n{}\n\n{licence}\n", "-".repeat(100), crates.join(", "))?;
    }
    Ok(text)
}

/// Names and versions of the crates that are linked.
fn linked(platform: &str) -> Result<BTreeSet<String>> {
    let edges = ["--edges=normal,no-proc-macro", "--prefix=none", "--format={p}"];
    let tree =
        output(&[&["tree", "--locked", "--package=mae-cli", "--target", platform], &edges[..]].concat())?;
    let name = |line: &str| {
        let (name, rest) = line.split_once(" v")?;
        Some(format!("{name} {}", rest.split(' ').next()?))
    };
    Ok(tree.lines().filter_map(name).collect())
}

/// The texts of all licences in a folder, at any depth: crates contain other people's code and fonts.
fn licences(folder: &Path) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        if path.is_dir() {
            texts.extend(licences(&path)?);
        } else if NAMES.iter().any(|start| name.starts_with(start)) && !name.ends_with(".rs") {
            let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let text = String::from_utf8_lossy(&bytes);
            // Texts that differ only in trailing spaces, or in empty lines at either end, count as one.
            let lines: Vec<_> = text.lines().map(str::trim_end).collect();
            texts.push(lines.join("\n").trim_matches('\n').to_owned());
        }
    }
    texts.sort();
    Ok(texts)
}

/// Runs cargo and returns its output.
fn output(args: &[&str]) -> Result<String> {
    let output = cargo().args(args).output().context("cannot start cargo")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).context("cargo printed no text")
}
