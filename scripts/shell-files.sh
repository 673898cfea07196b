#!/usr/bin/env bash
# The shell scripts of this repository, one a line: by their first line, so that none is forgotten.
set -euo pipefail
cd "$(dirname "$0")/.."
git ls-files -co --exclude-standard | while read -r file; do
    [ -f "$file" ] && head -c 40 "$file" | head -n 1 | grep -qaE '^#!.*\b(ba)?sh\b' && echo "$file"
done || true
