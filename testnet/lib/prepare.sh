# What `testnet/up`, `tests/run` and `tests/bench` need of the machine before
# cargo can build: a new enough rustc, and Debian's libraries and tools. Nothing
# is installed silently without root; whoever has none is told the command.
# To be sourced; speaks on stderr only.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/twinfold/target}
# The one profile of this workspace.
bin_dir=$CARGO_TARGET_DIR/debug

say() { printf '%s\n' "$*" >&2; }
fail() { say "$@"; exit 1; }

require_rust() {
    local wanted found
    wanted=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' "$root/Cargo.toml")
    # rustup puts its tools where a shell that was open before does not look yet.
    command -v rustc >/dev/null || PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
    found=$(rustc --version 2>/dev/null | cut -d' ' -f2) || true
    if [ -z "$found" ]; then
        say "Rust $wanted or newer is needed, and there is no rustc here. Install it with:"
        fail "  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
    fi
    if [ "$(printf '%s\n' "$wanted" "${found%%-*}" | sort -V | head -n 1)" != "$wanted" ]; then
        say "Rust $wanted or newer is needed; here is $found. Update it with:"
        fail "  rustup update stable"
    fi
}

# Installs what is missing of the given Debian packages.
require_packages() {
    local missing=() package
    if ! command -v dpkg-query >/dev/null; then
        [ -e "${ROCKSDB_LIB_DIR:-/usr/lib/x86_64-linux-gnu}/librocksdb.a" ] && return
        say "This system has no dpkg, so nothing can be installed here. Twinfold is built and tested on"
        say "Debian 12. Install what these Debian packages hold, and point ROCKSDB_LIB_DIR to librocksdb.a:"
        fail "  $*"
    fi
    for package in "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
            missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        # sudo may ask for a password only where someone can type one.
        if command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
            as_root=(sudo)
        else
            say "Debian packages are missing. Install them as root, then run this again:"
            fail "  apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
        fi
    fi
    say "Installing ${missing[*]}"
    "${as_root[@]}" apt-get update -qq >&2 &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2 ||
        fail "Could not install ${missing[*]}: see apt's message above."
}

prepare() {
    local tools=() tool
    require_rust
    for tool in gcc:gcc g++:g++ make:make pkg-config:pkg-config; do
        command -v "${tool%%:*}" >/dev/null || tools+=("${tool##*:}")
    done
    require_packages librocksdb-dev libclang-dev libsnappy-dev libzstd-dev liblz4-dev \
        zlib1g-dev libbz2-dev "${tools[@]}"
}

# A Python environment of its own for the checks that need one: `python_venv NAME
# REQUIREMENTS` makes tests/NAME from the pinned list once, again when it changes,
# and exports TWINFOLD_PYTHON.
python_venv() {
    local folder=$root/tests/$1 list=$2
    if ! cmp -s "$list" "$folder/requirements.txt"; then
        say "Making the Python environment tests/$1"
        rm -rf "$folder"
        python3 -c 'import ensurepip' 2>/dev/null || require_packages python3-venv
        python3 -m venv "$folder" >&2 &&
            "$folder/bin/pip" install --quiet --disable-pip-version-check -r "$list" >&2 &&
            cp "$list" "$folder/requirements.txt" || return 1
    fi
    export TWINFOLD_PYTHON=$folder/bin/python
}
