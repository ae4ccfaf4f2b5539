//! `cargo xtask dist`: one stripped `mae` for Linux x86-64 as a tar file, a Debian package and a wheel.

mod licences;
mod tools;

use std::path::{self, Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::programs::target;
use tools::{Tools, run};

/// The platform of the packages.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// The oldest glibc that Rust's standard library runs on, by the name of Python's platform tag.
const GLIBC: &str = "manylinux_2_17";

/// The folder of each shell's completions below a prefix such as `/usr`, and the file's name there.
const COMPLETIONS: [(&str, &str, &str); 3] = [
    ("bash", "share/bash-completion/completions", "mae"),
    ("zsh", "share/zsh/site-functions", "_mae"),
    ("fish", "share/fish/vendor_completions.d", "mae.fish"),
];

/// Options of `cargo xtask dist`.
#[derive(Args)]
pub struct Options {
    /// Cargo profile: `quick` builds faster, but the program is slower.
    #[arg(long, default_value = "release")]
    profile: String,
}

/// Builds the program once and packages it.
pub fn dist(options: &Options) -> Result<()> {
    ensure!(
        cfg!(all(target_os = "linux", target_arch = "x86_64")),
        "cargo xtask dist builds for Linux x86-64, and must run there"
    );
    // The tools run in other folders, so they need an absolute path.
    let target = path::absolute(target())?;
    let tools = Tools::install(&target.join("dist-tools"))?;
    let packages = target.join("dist");
    let built = target.join(PLATFORM).join(&options.profile);
    // cargo-deb finds files only beside the program.
    let tree = built.join("package");
    for folder in [&packages, &tree] {
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
    }
    let doc = tree.join("share/doc/mae");
    for folder in [&packages, &doc] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let third_party = doc.join("THIRD-PARTY.txt");
    fs::write(&third_party, licences::third_party(PLATFORM)?)?;

    build_wheel(&tools, options, &third_party, &packages)?;
    fill(&tree, &built.join("mae"))?;
    archive(&tree, &packages)?;
    let deb = ["deb", "--no-build", "--no-strip", "--package=mae-cli", "--target", PLATFORM];
    run(tools
        .command("cargo")
        .args(deb)
        .args(["--profile", &options.profile])
        .arg("--output")
        .arg(&packages))?;
    summarise(&packages)
}

/// Builds the program against the old glibc. Fails if it needs a later one or other libraries.
fn build_wheel(tools: &Tools, options: &Options, third_party: &Path, packages: &Path) -> Result<()> {
    let strip = format!("CARGO_PROFILE_{}_STRIP", options.profile.to_uppercase().replace('-', "_"));
    let build = ["build", "--locked", "--zig", "--auditwheel=check", "--target", PLATFORM];
    let mut maturin = tools.command("maturin");
    maturin.args(build).args(["--manifest-path=crates/mae-cli/Cargo.toml", "--compatibility", GLIBC]);
    maturin.args(["--profile", &options.profile]).arg("--sbom-include").arg(third_party);
    run(maturin.arg("--out").arg(packages).env(strip, "symbols").env("RUSTFLAGS", flags()?))
}

/// Flags of rustc that keep the home folder of this machine's user out of panic messages.
fn flags() -> Result<String> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(env::home_dir()?.join(".cargo"))).context("HOME is not set")?;
    let given = env::var("RUSTFLAGS").unwrap_or_default();
    Ok(format!("{given} --remap-path-prefix={}=registry", home.join("registry/src").display()))
}

/// Fills the tree that is unpacked below a prefix such as `/usr/local`.
fn fill(tree: &Path, program: &Path) -> Result<()> {
    let bin = tree.join("bin");
    fs::create_dir_all(&bin)?;
    fs::copy(program, bin.join("mae")).with_context(|| format!("cannot copy {}", program.display()))?;
    let pages = tree.join("share/man/man1");
    run(Command::new(program).arg("man").arg(&pages))?;
    run(Command::new("gzip").arg("-9nr").arg(&pages))?;
    for (shell, folder, name) in COMPLETIONS {
        let folder = tree.join(folder);
        fs::create_dir_all(&folder)?;
        let script = Command::new(program).args(["completions", shell]).output()?;
        ensure!(script.status.success(), "mae completions {shell} failed");
        fs::write(folder.join(name), script.stdout)?;
    }
    for name in ["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"] {
        fs::copy(name, tree.join("share/doc/mae").join(name))
            .with_context(|| format!("cannot copy {name}"))?;
    }
    Ok(())
}

/// Writes the tree as a tar file, below a folder with the version.
fn archive(tree: &Path, packages: &Path) -> Result<()> {
    let name = format!("mae-{}-x86_64-linux", env!("CARGO_PKG_VERSION"));
    let owner = ["--sort=name", "--owner=0", "--group=0", "--numeric-owner"];
    let mut tar = Command::new("tar");
    tar.args(owner).arg(format!("--transform=s,^\\.,{name},")).arg("-C").arg(tree);
    run(tar.arg("-czf").arg(packages.join(format!("{name}.tar.gz"))).arg("."))
}

/// Writes `SHA256SUMS` and prints the packages with their sizes.
fn summarise(packages: &Path) -> Result<()> {
    let mut files = fs::read_dir(packages)?.collect::<Result<Vec<_>, _>>()?;
    files.sort_by_key(fs::DirEntry::file_name);
    let sums = Command::new("sha256sum")
        .args(files.iter().map(fs::DirEntry::file_name))
        .current_dir(packages)
        .output()
        .context("cannot start sha256sum")?;
    ensure!(sums.status.success(), "{}", String::from_utf8_lossy(&sums.stderr));
    fs::write(packages.join("SHA256SUMS"), sums.stdout)?;
    for file in &files {
        println!("{:>6.1} MB  {}", file.metadata()?.len() as f64 / 1e6, file.path().display());
    }
    Ok(())
}
