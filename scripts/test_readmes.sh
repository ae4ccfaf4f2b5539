#!/usr/bin/env bash
# Makes a program of each `toml` block of a library's README and the `rust` block that follows it, and runs it outside the workspace, like
# a user who copies both. The sources are those of this checkout.
# Usage: test_readmes.sh [CRATE...]    (default: all libraries)
# PROFILE names a cargo profile (default: dev), COMMAND the cargo command (default: run).
set -euo pipefail
cd "$(dirname "$0")/.."

root=$PWD
crates=("$@")
[ $# -gt 0 ] || crates=(mae-random mae-masking mae-kernels mae-eval mae-report mae-image mae-data mae-vit mae-model mae-ranks mae-trainer mae)
elsewhere=$(mktemp -d)
trap 'rm -rf "$elsewhere"' EXIT

export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$root/target}"
for crate in "${crates[@]}"; do
    # A README may have several programs. One without a `toml` block of its own uses the previous block.
    programs=$(awk -v out="$elsewhere/$crate" '
        /^```toml$/ { file = out ".toml"; printf "" > file; next }
        /^```rust$/ { n++; file = out "-" n ".rs"; system("cp " out ".toml " out "-" n ".toml"); next }
        /^```/ { if (file) close(file); file = ""; next }
        file { print > file }
        END { print n }' "crates/$crate/README.md")
    for n in $(seq "$programs"); do
        folder="$elsewhere/$crate-readme-$n"
        mkdir -p "$folder/src"
        mv "$elsewhere/$crate-$n.rs" "$folder/src/main.rs"
        {
            printf '[package]\nname = "%s"\nversion = "0.0.0"\nedition = "2024"\n\n' "$crate-readme-$n"
            sed -E "s#^(mae[a-z-]*) = \{ git = \"[^\"]*\"#\1 = { path = \"$root/crates/\1\"#" "$elsewhere/$crate-$n.toml"
            printf '\n[workspace]\n\n'
            sed -n '/^\[profile/,$p' Cargo.toml
        } >"$folder/Cargo.toml"
        cp Cargo.lock "$folder"
        echo "program $n of crates/$crate/README.md"
        (cd "$folder" && cargo "${COMMAND:-run}" --quiet --profile "${PROFILE:-dev}")
    done
done
