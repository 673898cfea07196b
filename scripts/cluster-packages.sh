#!/usr/bin/env bash
# Installs Debian's packages of Slurm and Grid Engine, which tests/cluster needs, or the packages that are named. None of
# their services is started.
set -euo pipefail
packages=${*:-"slurm-wlm munge libpmix2 libpmix-dev gridengine-master gridengine-exec gridengine-client"}
# shellcheck disable=SC2086 # a word is a package
if dpkg --status $packages >/dev/null 2>&1; then exit 0; fi

# What invoke-rc.d asks before it starts a service; 101 forbids it.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $packages >/dev/null
