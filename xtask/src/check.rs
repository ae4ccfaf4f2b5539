//! `cargo xtask check`: runs the formatter, lints, tests and other tools, and checks the workspace's own rules.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};
use syn::{Item, Visibility};

use crate::circles::circular_imports;
use crate::programs::cargo;

/// The largest number of lines of a source file, tests included.
const MAX_LINES: usize = 400;

/// The largest number of source files in a folder.
const MAX_FILES: usize = 12;

/// The other library crates that each library crate may depend on.
const GRAPH: [(&str, &[&str]); 12] = [
    ("mae-random", &[]),
    ("mae-masking", &["mae-random"]),
    ("mae-kernels", &[]),
    ("mae-vit", &["mae-kernels", "mae-random"]),
    ("mae-image", &[]),
    ("mae-data", &["mae-image", "mae-random"]),
    ("mae-model", &["mae-kernels", "mae-masking", "mae-random", "mae-vit"]),
    ("mae-eval", &[]),
    ("mae-report", &["mae-data", "mae-image", "mae-random"]),
    ("mae-ranks", &["mae-kernels", "mae-random", "mae-vit"]),
    (
        "mae-trainer",
        &[
            "mae-data",
            "mae-eval",
            "mae-image",
            "mae-kernels",
            "mae-masking",
            "mae-model",
            "mae-random",
            "mae-ranks",
            "mae-report",
            "mae-vit",
        ],
    ),
    (
        "mae",
        &[
            "mae-data",
            "mae-eval",
            "mae-image",
            "mae-kernels",
            "mae-masking",
            "mae-model",
            "mae-random",
            "mae-ranks",
            "mae-report",
            "mae-trainer",
            "mae-vit",
        ],
    ),
];

/// Crates that compute without Burn.
const WITHOUT_BURN: [&str; 7] =
    ["mae-random", "mae-masking", "mae-kernels", "mae-image", "mae-data", "mae-eval", "mae-report"];

/// Backends that no library crate may depend on by default.
const BACKENDS: [&str; 6] =
    ["burn-flex", "burn-ndarray", "burn-tch", "burn-wgpu", "burn-cuda", "burn-cubecl"];

/// Runs all checks, or the rules alone, with or without the tests.
pub fn check(rules_only: bool, tests: bool) -> Result<ExitCode> {
    rules()?;
    if !rules_only {
        run("formatting", cargo().args(["fmt", "--all", "--check"]))?;
        let lint = ["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"];
        run("lints", cargo().args(lint))?;
        let doc = ["doc", "--workspace", "--no-deps", "--quiet"];
        run("documentation", cargo().args(doc).env("RUSTDOCFLAGS", "--deny warnings"))?;
        let known = Command::new("cargo-deny").arg("--version").output().is_ok();
        ensure!(known, "cargo-deny is missing: cargo install --locked cargo-deny");
        run("licences and sources", cargo().args(["deny", "check", "bans", "licenses", "sources"]))?;
        if tests {
            run("tests", cargo().args(["test", "--workspace"]))?;
        }
    }
    println!("all checks passed");
    Ok(ExitCode::SUCCESS)
}

fn run(what: &str, command: &mut Command) -> Result<()> {
    println!("check: {what}");
    let status = command.status().with_context(|| format!("cannot run the check of {what}"))?;
    ensure!(status.success(), "the check of {what} failed");
    Ok(())
}

/// Checks the rules that no other tool checks.
fn rules() -> Result<()> {
    println!("check: house rules");
    // Read at run time, because the workspace may have moved since the program was built.
    let manifest = env::var_os("CARGO_MANIFEST_DIR").context("this runs as cargo xtask")?;
    let root = Path::new(&manifest).parent().context("xtask lies in the workspace")?;
    let within = |file: &Path| file.strip_prefix(root).unwrap_or(file).display().to_string();
    let mut broken = Vec::new();
    for file in sources(root)? {
        let name = within(&file);
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {name}"))?;
        let lines = text.lines().count();
        if !text.starts_with("//!") {
            broken.push(format!("{name}: a file must open with a //! sentence on what it does"));
        }
        if lines > MAX_LINES {
            broken.push(format!("{name}: {lines} lines, but at most {MAX_LINES} are allowed"));
        }
    }
    for crate_root in roots(root)? {
        for (from, to) in circular_imports(&crate_root)? {
            broken.push(format!("{}: imports from {}, which depends on it", within(&from), within(&to)));
        }
    }
    broken.extend(crowded(root)?);
    broken.extend(too_large(root)?);
    broken.extend(namesakes(root)?);
    for (package, allowed) in GRAPH {
        let tree = dependencies(package)?;
        for (other, _) in GRAPH {
            if other != package && tree.contains(other) && !allowed.contains(&other) {
                broken.push(format!("{package} must not depend on {other}"));
            }
        }
        // The facade has a default backend, so that it can be used as it is.
        for backend in BACKENDS.iter().filter(|b| package != "mae" && tree.contains(**b)) {
            broken.push(format!("{package} pulls in {backend}: a library must not depend on a backend"));
        }
        if WITHOUT_BURN.contains(&package) && tree.iter().any(|d| d.starts_with("burn")) {
            broken.push(format!("{package} must not depend on Burn"));
        }
    }
    if !broken.is_empty() {
        bail!("house rules are broken:\n  {}", broken.join("\n  "));
    }
    Ok(())
}

/// Finds source folders with more than [`MAX_FILES`] files, which no longer show a crate's parts.
fn crowded(root: &Path) -> Result<Vec<String>> {
    let mut files = BTreeMap::<PathBuf, usize>::new();
    for file in sources(root)? {
        let folder = file.strip_prefix(root).unwrap_or(&file).parent().unwrap_or(root).to_owned();
        // Tests do not count, because each is a program of its own.
        if folder.components().any(|part| part.as_os_str() == "src") {
            *files.entry(folder).or_default() += 1;
        }
    }
    let crowded = files.iter().filter(|(_, files)| **files > MAX_FILES);
    let say = |(folder, files): (&PathBuf, &usize)| {
        format!("{}: {files} files in one folder, but at most {MAX_FILES} are allowed", folder.display())
    };
    Ok(crowded.map(say).collect())
}

/// Finds crates with more than a quarter of the workspace's lines.
fn too_large(root: &Path) -> Result<Vec<String>> {
    let mut lines = BTreeMap::<PathBuf, usize>::new();
    for file in sources(root)? {
        let within = file.strip_prefix(root).unwrap_or(&file);
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        *lines.entry(within.components().take(2).collect()).or_default() += text.lines().count();
    }
    let all: usize = lines.values().sum();
    let large = lines.iter().filter(|(_, lines)| 4 * **lines > all);
    let say = |(name, lines): (&PathBuf, &usize)| {
        format!("{} has {lines} of {all} lines, but no crate may have more than a quarter", name.display())
    };
    Ok(large.map(say).collect())
}

/// Finds public types of the library crates that share a name, because readers could confuse them.
fn namesakes(root: &Path) -> Result<Vec<String>> {
    let mut types = BTreeMap::<String, Vec<String>>::new();
    let libraries = GRAPH.map(|(package, _)| root.join("crates").join(package).join("src"));
    for file in sources(root)?.into_iter().filter(|file| libraries.iter().any(|src| file.starts_with(src))) {
        let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {name}"))?;
        let parsed = syn::parse_file(&text).with_context(|| format!("cannot parse {name}"))?;
        for item in parsed.items {
            let (visibility, ident) = match item {
                Item::Struct(item) => (item.vis, item.ident),
                Item::Enum(item) => (item.vis, item.ident),
                Item::Trait(item) => (item.vis, item.ident),
                Item::Type(item) => (item.vis, item.ident),
                _ => continue,
            };
            if matches!(visibility, Visibility::Public(_)) {
                types.entry(ident.to_string()).or_default().push(name.clone());
            }
        }
    }
    let shared = types.into_iter().filter(|(_, files)| files.len() > 1);
    Ok(shared.map(|(name, files)| format!("{name} is a public type of {}", files.join(" and of "))).collect())
}

/// The roots of all crates of the workspace.
fn roots(root: &Path) -> Result<Vec<PathBuf>> {
    let mut roots = vec![root.join("xtask/src/main.rs")];
    for folder in ["crates", "examples"] {
        for entry in fs::read_dir(root.join(folder)).with_context(|| format!("cannot list {folder}"))? {
            let src = entry?.path().join("src");
            roots.extend(
                ["lib.rs", "main.rs"].map(|name| src.join(name)).into_iter().filter(|path| path.exists()),
            );
        }
    }
    Ok(roots)
}

/// All Rust files of the workspace.
fn sources(root: &Path) -> Result<Vec<PathBuf>> {
    let mut folders: Vec<PathBuf> = ["crates", "examples", "xtask", "fuzz"].map(|f| root.join(f)).into();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Names of all packages that a package needs to be built, with its default features.
fn dependencies(package: &str) -> Result<BTreeSet<String>> {
    let args = ["tree", "--package", package, "--edges", "normal", "--prefix", "none", "--format", "{p}"];
    let output = cargo().args(args).output().context("cannot run cargo tree")?;
    ensure!(output.status.success(), "cargo tree failed for {package}");
    let text = String::from_utf8(output.stdout).context("cargo tree printed no text")?;
    Ok(text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}
