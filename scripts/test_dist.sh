#!/usr/bin/env bash
# Installs each package of `cargo xtask dist` into a bare chroot of an old Debian or Ubuntu, without network, and trains there.
# Needs root and debootstrap. WORK keeps the bare system for the next run.
# Usage: test_dist.sh PACKAGES IMAGES WORK
set -euo pipefail
packages=$(realpath "$1") images=$(realpath "$2")
mkdir -p "$3"
work=$(realpath "$3")
root="$work/root"
fail() { echo "$*"; exit 1; }

# Makes the oldest system that this machine's package mirrors offer.
bare() {
    local suite mirror mirrors components
    mirrors=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | sort -u)
    for suite in buster bullseye focal jammy bookworm noble trixie; do
        for mirror in $mirrors; do
            /usr/lib/apt/apt-helper download-file "$mirror/dists/$suite/Release" "$work/Release" >"$work/release.log" 2>&1 ||
                continue
            components=main # Ubuntu has pip in universe
            case $suite in focal | jammy | noble) components=main,universe ;; esac
            rm -rf "$work/bare.partial"
            debootstrap --variant=minbase --components="$components" --include=python3-pip "$suite" "$work/bare.partial" \
                "$mirror" >"$work/bare.log" || { tail "$work/bare.log"; exit 1; }
            rm -rf "$work/bare.partial/var/cache/apt" "$work/bare.partial/var/lib/apt/lists"
            mv "$work/bare.partial" "$work/bare"
            return
        done
    done
    fail "no mirror of a known suite among: $mirrors"
}
[ -d "$work/bare" ] || bare

fresh() {
    rm -rf "$root"
    cp -a "$work/bare" "$root"
    cp -r "$images" "$root/images"
}
inside() {
    unshare --mount --net sh -c 'mount --bind /proc "$0/proc" && exec chroot "$0" /usr/bin/env -i HOME=/root \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"' "$root" "$@"
}
# Checks that the program $1 trains: it stops after three steps, and a second call resumes the run to the end.
trains() {
    inside "$1" pretrain --data /images --preset nano --image-size 16 --patch-size 4 --batch-size 4 --epochs 1 --stop-after 3 \
        --out /runs/images >"$work/train.log" 2>&1 && fail "it did not stop" || [ $? = 130 ] || { cat "$work/train.log"; exit 1; }
    inside "$1" pretrain --resume /runs/images >"$work/train.log" 2>&1 || { cat "$work/train.log"; exit 1; }
    [ -s "$root/runs/images/model.safetensors" ] || fail "no weights"
    grep '^trained' "$work/train.log"
}
# Checks that all files are below the prefix $1, zsh's completions in its folder zsh/$2.
complete() {
    local page verb verbs
    verbs=$(sed -n '/^Commands:/,/^$/s/^  \([a-z]\+\) .*/\1/p' "$work/help" | grep -v '^help$')
    for verb in $verbs; do
        page="$1/share/man/man1/mae-$verb.1.gz"
        zgrep -q '^.SH OPTIONS' "$page" || fail "$page is no manual page"
    done
    for page in man/man1/mae.1.gz bash-completion/completions/mae zsh/$2/_mae fish/vendor_completions.d/mae.fish \
        doc/mae/THIRD-PARTY.txt doc/mae/LICENSE-MIT; do
        [ -s "$1/share/$page" ] || fail "no $page"
    done
    echo "manual pages of $(echo "$verbs" | wc -w) verbs"
}

fresh
echo "in $(. "$root/etc/os-release"; echo "$PRETTY_NAME"), $(inside ldd --version | head -1)"

echo "--- tar"
tar -xzf "$packages"/mae-*.tar.gz -C "$root/opt"
# The program must run from any folder.
mv "$root"/opt/mae-* "$root/srv/moved"
program="$root/srv/moved/bin/mae"
newest=$(objdump -T "$program" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -1)
echo "$newest; $(objdump -p "$program" | awk '/NEEDED/ { print $2 }' | xargs)"
[ "$(printf '%s\n' "$newest" GLIBC_2.17 | sort -V | tail -1)" = GLIBC_2.17 ] || fail "it needs a later glibc than 2.17"
[ -z "$(nm "$program" 2>"$work/nm.log")" ] || fail "it is not stripped"
inside /srv/moved/bin/mae --help >"$work/help"
complete "$root/srv/moved" site-functions
trains /srv/moved/bin/mae

echo "--- Debian package"
fresh
cp "$packages"/*.deb "$root/mae.deb"
inside dpkg -i /mae.deb
complete "$root/usr" vendor-completions
trains mae

echo "--- wheel"
fresh
cp "$packages"/*.whl "$root/"
inside sh -c 'python3 -m pip --disable-pip-version-check install --no-index /*.whl'
trains mae
rm -rf "$root"
