#!/usr/bin/env bash
# Refuse to make a release whose tag, version and changelog do not agree. Without a tag on this commit there is nothing to say.
set -euo pipefail
cd "$(dirname "$0")/.."
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' hvd_train/__init__.py)
grep -q "^## $version - " CHANGELOG.md || {
    echo "error: CHANGELOG.md has no section of the version $version of hvd_train/__init__.py. Write it: ## $version - DATE" >&2
    exit 1
}
tags=$(git tag --points-at HEAD --list 'v*' 2>/dev/null || true)
if [ -n "$tags" ] && ! grep -qx "v$version" <<<"$tags"; then
    echo "error: this commit is tagged ${tags//$'\n'/, }, and hvd_train/__init__.py has the version $version. Change one of them." >&2
    exit 1
fi
