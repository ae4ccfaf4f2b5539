//! Finds files of a crate that import each other in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree, Visibility};

/// A module: its file, its contents, and what it re-exports.
#[derive(Default)]
struct Module {
    file: usize,
    children: BTreeSet<String>,
    items: BTreeSet<String>,
    /// Names that are re-exported, each with its path from here.
    handed_on: BTreeMap<String, Vec<String>>,
    /// Paths that the module's code names.
    named: Vec<Vec<String>>,
}

/// The modules of a crate by path.
#[derive(Default)]
struct Crate {
    files: Vec<PathBuf>,
    modules: BTreeMap<Vec<String>, Module>,
}

/// Returns the circular imports among the files of the crate whose root is `root`, each as (importing file, imported
/// file). Tests do not count, and neither do modules that only re-export names.
pub fn circular_imports(root: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
    let mut found = Crate::default();
    let folder = root.parent().context("a root lies in a folder")?;
    found.read(root, folder, Vec::new())?;
    let imports = found.imports();
    let reached = |from: usize| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(file) = next.pop() {
            next.extend(imports[file].iter().copied().filter(|other| seen.insert(*other)));
        }
        seen
    };
    let reached: Vec<BTreeSet<usize>> = (0..found.files.len()).map(reached).collect();
    // An import is on a circle if its target reaches its origin.
    let mut circular = Vec::new();
    for (from, imported) in imports.iter().enumerate() {
        for to in imported.iter().filter(|to| reached[**to].contains(&from)) {
            circular.push((found.files[from].clone(), found.files[*to].clone()));
        }
    }
    Ok(circular)
}

impl Crate {
    /// Reads a file as the module at `path`, whose sub-modules lie in `folder`.
    fn read(&mut self, file: &Path, folder: &Path, path: Vec<String>) -> Result<()> {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let parsed = syn::parse_file(&text).with_context(|| format!("cannot parse {}", file.display()))?;
        self.files.push(file.to_owned());
        self.add(self.files.len() - 1, folder, path, &parsed.items)
    }

    fn add(&mut self, file: usize, folder: &Path, path: Vec<String>, items: &[Item]) -> Result<()> {
        let mut module = Module { file, ..Module::default() };
        for item in items.iter().filter(|item| !is_test(attributes(item))) {
            match item {
                Item::Mod(inner) => {
                    let name = inner.ident.to_string();
                    module.children.insert(name.clone());
                    let below = [&path[..], std::slice::from_ref(&name)].concat();
                    match &inner.content {
                        Some((_, items)) => self.add(file, &folder.join(&name), below, items)?,
                        None => {
                            let flat = folder.join(format!("{name}.rs"));
                            let nested = folder.join(&name).join("mod.rs");
                            let source = if flat.exists() { flat } else { nested };
                            self.read(&source, &folder.join(&name), below)?;
                        }
                    }
                }
                Item::Use(import) => {
                    let mut leaves = Vec::new();
                    leaves_of(&import.tree, &mut Vec::new(), &mut leaves);
                    if matches!(import.vis, Visibility::Inherited) {
                        module.named.extend(leaves.into_iter().map(|(_, path)| path));
                    } else {
                        module.handed_on.extend(leaves);
                    }
                }
                item => {
                    module.items.extend(name(item));
                    Paths(&mut module.named).visit_item(item);
                }
            }
        }
        self.modules.insert(path, module);
        Ok(())
    }

    /// For each file, the files that it imports from.
    fn imports(&self) -> Vec<BTreeSet<usize>> {
        let mut imports = vec![BTreeSet::new(); self.files.len()];
        for (path, module) in &self.modules {
            for named in &module.named {
                if let Some(file) = self.resolve(path, named, 0).filter(|file| *file != module.file) {
                    imports[module.file].insert(file);
                }
            }
        }
        imports
    }

    /// The file that defines the item at a path, if it is in this crate.
    fn resolve(&self, from: &[String], named: &[String], depth: usize) -> Option<usize> {
        let mut at = from.to_vec();
        let mut rest = named;
        match rest.first()?.as_str() {
            "crate" => (at, rest) = (Vec::new(), &rest[1..]),
            "self" => rest = &rest[1..],
            "super" => {
                while rest.first().is_some_and(|segment| segment == "super") {
                    at.pop()?;
                    rest = &rest[1..];
                }
            }
            first => {
                let here = &self.modules[from];
                let known = here.children.contains(first) || here.handed_on.contains_key(first);
                if !known || depth > 16 {
                    return None;
                }
            }
        }
        for segment in rest {
            let module = self.modules.get(&at)?;
            if module.children.contains(segment) {
                at.push(segment.clone());
            } else if module.items.contains(segment) {
                return Some(module.file);
            } else {
                return self.resolve(&at, module.handed_on.get(segment)?, depth + 1);
            }
        }
        self.modules.get(&at).map(|module| module.file)
    }
}

/// Collects the paths of more than one segment.
struct Paths<'a>(&'a mut Vec<Vec<String>>);

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if segments.len() > 1 {
            self.0.push(segments);
        }
        visit::visit_path(self, path);
    }

    /// The path in a visibility is no import.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}
}

/// Collects each name that a `use` imports, with its path.
fn leaves_of(tree: &UseTree, prefix: &mut Vec<String>, leaves: &mut Vec<(String, Vec<String>)>) {
    let leaf = |name: String, last: String, prefix: &[String]| match last.as_str() {
        "self" => (name, prefix.to_vec()),
        _ => (name, [prefix, &[last]].concat()),
    };
    match tree {
        UseTree::Path(path) => {
            prefix.push(path.ident.to_string());
            leaves_of(&path.tree, prefix, leaves);
            prefix.pop();
        }
        UseTree::Name(name) => leaves.push(leaf(name.ident.to_string(), name.ident.to_string(), prefix)),
        UseTree::Rename(name) => leaves.push(leaf(name.rename.to_string(), name.ident.to_string(), prefix)),
        // A glob counts as an import of the module itself.
        UseTree::Glob(_) => leaves.push((String::new(), prefix.clone())),
        UseTree::Group(group) => group.items.iter().for_each(|tree| leaves_of(tree, prefix, leaves)),
    }
}

fn name(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        _ => return None,
    };
    Some(ident.to_string())
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Mod(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        _ => &[],
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let list = attribute.meta.require_list();
        attribute.path().is_ident("cfg") && list.is_ok_and(|list| list.tokens.to_string() == "test")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the circular imports of a crate with these files, by name.
    fn found(files: &[(&str, &str)]) -> Vec<(String, String)> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let name = |path: PathBuf| path.strip_prefix(folder.path()).unwrap().display().to_string();
        let circular = circular_imports(&folder.path().join("lib.rs")).unwrap();
        circular.into_iter().map(|(from, to)| (name(from), name(to))).collect()
    }

    #[test]
    fn circles_are_found() {
        let root = ("lib.rs", "mod a; mod b; pub use a::A;");
        let circle = [root, ("a.rs", "use crate::b::B; pub struct A;"), ("b.rs", "pub struct B(crate::A);")];
        let expected = [("a.rs", "b.rs"), ("b.rs", "a.rs")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(found(&circle), expected);

        let child = [
            ("lib.rs", "mod a;"),
            ("a.rs", "mod b; fn f() { b::g() }"),
            ("a/b.rs", "use super::f; pub fn g() {}"),
        ];
        assert_eq!(found(&child).len(), 2);
    }

    #[test]
    fn what_is_no_circle_is_not_found() {
        let root = ("lib.rs", "mod a; mod b; pub use a::A;");
        let plain = ("a.rs", "use std::fmt; pub struct A;");
        assert!(found(&[root, plain, ("b.rs", "use crate::A; pub struct B;")]).is_empty());
        let test = ("a.rs", "pub struct A; #[cfg(test)] mod tests { use crate::b::B; }");
        assert!(found(&[root, test, ("b.rs", "use crate::A; pub struct B;")]).is_empty());
        let handed_on = [
            ("lib.rs", "mod a;"),
            ("a/mod.rs", "mod b; pub use b::B;"),
            ("a/b.rs", "use super::B; pub struct B;"),
        ];
        assert!(found(&handed_on).is_empty());
    }
}
