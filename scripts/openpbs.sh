#!/usr/bin/env bash
# Builds OpenPBS, which tests/cluster needs and Debian does not have. Prints the folder that it is installed in.
#
#     scripts/openpbs.sh          the second time it does nothing
#
# Read from the environment, all optional:
#     PBS_EXEC             an OpenPBS or PBS Professional that is installed: nothing is built
#     OPENPBS_REPOSITORY   where git fetches the source: its public repository, a mirror, or a folder with a clone
#
# The commit id below is the checksum of the whole source. It is later than the release 23.06.06, which does not compile with
# Python 3.11. Root gets Debian's packages for the build.
set -euo pipefail
cd "$(dirname "$0")/.."
version=23.06.06
commit=cd7ab5edaf03dcac2f1cb9e2f42d75eb117d468a
repository=${OPENPBS_REPOSITORY:-https://github.com/openpbs/openpbs.git}
prefix=${PBS_EXEC:-${XDG_CACHE_HOME:-$HOME/.cache}/hvd_train/openpbs-$version}
packages="autoconf automake g++ gcc git libtool make pkg-config swig libcjson-dev libedit-dev libexpat1-dev libhwloc-dev libical-dev libncurses-dev
    libssl-dev libx11-dev libxext-dev libxft-dev libxt-dev python3-dev tcl-dev tk-dev postgresql postgresql-contrib postgresql-server-dev-all"

say() { printf '%s\n' "$*" >&2; }
fail() {
    say "OpenPBS was not built: $*"
    exit 1
}

if [ -x "$prefix/sbin/pbs_server" ]; then
    echo "$prefix"
    exit 0
fi
[ -z "${PBS_EXEC:-}" ] || fail "PBS_EXEC=$PBS_EXEC has no sbin/pbs_server. Unset it, and it is built."
[ "$(id -u)" = 0 ] || fail "only root can use it in the laboratory of tests/cluster."
command -v apt-get >/dev/null || fail "the packages for the build are named as in Debian, and apt-get is not here."

# The next two wait for a network: both have a limit.
# shellcheck disable=SC2086 # a word is a package
timeout 600 scripts/cluster-packages.sh $packages || fail "Debian's packages were not installed: $packages"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
git init -q "$folder/source"
cd "$folder/source"
say "OpenPBS $version is fetched and built, once: three minutes."
GIT_TERMINAL_PROMPT=0 timeout 300 git fetch -q --depth 1 "$repository" "$commit" >&2 ||
    fail "git could not fetch commit $commit from $repository. Name a mirror or a clone with OPENPBS_REPOSITORY."
git checkout -q --detach "$commit"

build() { # Installed aside and moved: a build that is cut short leaves nothing behind that looks complete.
    ./autogen.sh && ./configure --prefix="$prefix" CFLAGS="-O1 -w" PYTHON=/usr/bin/python3 &&
        make -j"$(nproc)" && make install DESTDIR="$folder/installed"
}
build >"$folder/log" 2>&1 </dev/null || {
    tail -n 40 "$folder/log" >&2
    fail "its build failed. The last lines are above."
}
# As its own installation does: with it a command of a user proves who that is.
chmod 4755 "$folder/installed$prefix/sbin/pbs_iff"
mkdir -p "$(dirname "$prefix")"
rm -rf "$prefix.new"
mv "$folder/installed$prefix" "$prefix.new"
mv -T "$prefix.new" "$prefix"
echo "$prefix"
