#!/usr/bin/env bash
# Packages the published crates, unpacks them in another folder and type-checks their tests there. Runs the tests that read files of the
# package.
set -euo pipefail
cd "$(dirname "$0")/.."

crates=(mae-random mae-masking mae-kernels mae-eval mae-image mae-data mae-report mae-vit mae-model mae-ranks mae-trainer mae mae-cli)
cargo package --quiet --no-verify --allow-dirty "${crates[@]/#/--package=}"

packages="${CARGO_TARGET_DIR:-target}/package"
elsewhere=$(mktemp -d)
trap 'rm -rf "$elsewhere"' EXIT
for crate in "${crates[@]}"; do
    # -m sets the current time, so that cargo builds anew: builds of an earlier folder know files by paths that are gone.
    tar -xzmf "$packages/$crate"-[0-9]*.crate -C "$elsewhere"
done
# The crates depend on each other by version, as in a registry. The profiles are the workspace's.
cp Cargo.lock "$elsewhere"
{
    echo '[workspace]'
    echo 'resolver = "3"'
    echo 'members = ["*-[0-9]*"]'
    echo '[patch.crates-io]'
    for crate in "${crates[@]}"; do
        (cd "$elsewhere" && echo "$crate.path = \"$(echo "$crate"-[0-9]*)\"")
    done
    sed -n '/^\[profile/,$p' Cargo.toml
} >"$elsewhere/Cargo.toml"

cd "$elsewhere"
# In the workspace, these crates are dev-dependencies of themselves with these features. A package cannot be.
features=mae-data/burn,mae-vit/flex,mae-model/flex,mae-trainer/flex
# If a file is missing from a package, either the build of a test fails, or a test that reads it at run time.
cargo check --quiet --offline --workspace --tests --features "$features"
reads=(--lib --test 'golden*' --test tars --test shards --test passed_over --test refusals --test hostile --test segmentation)
cargo test --quiet --offline --workspace --features "$features" "${reads[@]}"
