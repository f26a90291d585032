#!/bin/sh
# Installs what the build and the tests need and this machine lacks, by apt (Debian 12, Ubuntu 24.04
# and newer), with sudo when not root. Says nothing when nothing is missing.
#   scripts/install-deps.sh [--list]     --list: only print what is missing
set -eu

packages="build-essential cmake ninja-build pkg-config ccache git ca-certificates curl unzip python3 bubblewrap
libjansson-dev libyaml-dev libpcre2-dev libcurl4-openssl-dev libxxhash-dev zlib1g-dev libzstd-dev libseccomp-dev
libutf8proc-dev libgmp-dev libflint-dev libcmocka-dev"

if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "install-deps: this system has no apt; install by its own means what these packages hold: $packages" >&2
    exit 1
fi

installed() {
    [ "$(dpkg-query -W -f='${db:Status-Abbrev}' "$1" 2>/dev/null | cut -c1-2)" = ii ]
}

missing=
for package in $packages; do
    installed "$package" || missing="$missing $package"
done
# FLINT 2 (Debian 12) keeps ball arithmetic in a library of its own; FLINT 3 contains it.
flint=$(dpkg-query -W -f='${Version}' libflint-dev 2>/dev/null || apt-cache policy libflint-dev 2>/dev/null |
    sed -n 's/.*Candidate: //p')
case ${flint#*:} in
[012].*) installed libflint-arb-dev || missing="$missing libflint-arb-dev" ;;
esac
[ -n "$missing" ] || exit 0
if [ "${1:-}" = --list ]; then
    echo "$missing"
    exit 0
fi

as_root=
if [ "$(id -u)" != 0 ]; then
    as_root=sudo
    command -v sudo >/dev/null 2>&1 || {
        echo "install-deps: missing:$missing" >&2
        echo "install-deps: there is no sudo here; run as root: apt-get install$missing" >&2
        exit 1
    }
fi
echo "installing:$missing" >&2
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# shellcheck disable=SC2086
run() {
    $as_root env DEBIAN_FRONTEND=noninteractive "$@" >"$log" 2>&1 || {
        tail -n 20 "$log" >&2
        echo "install-deps: '$*' failed" >&2
        exit 1
    }
}
run apt-get -qq -o DPkg::Lock::Timeout=120 update
# The version of FLINT is known for certain only now, on a machine that never saw a package list.
flint=$(apt-cache policy libflint-dev | sed -n 's/.*Candidate: //p')
case ${flint#*:} in
[012].*) case $missing in *libflint-arb-dev*) ;; *) installed libflint-arb-dev || missing="$missing libflint-arb-dev" ;; esac ;;
esac
# shellcheck disable=SC2086
run apt-get -qq -y -o DPkg::Lock::Timeout=120 --no-install-recommends install $missing
