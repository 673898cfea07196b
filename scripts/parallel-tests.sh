#!/usr/bin/env bash
# Run tests/parallel with pytest itself under mpirun on N ranks, one launch a file, so that a file that breaks the
# ranks' common state cannot fail another. Shows rank 0's report, and every rank's output of a file that fails; what failed
# and why stands once more at the end.
#
#     scripts/parallel-tests.sh N [FILE ...]
set -euo pipefail
np=$1
shift
if [ $# = 0 ]; then mapfile -t files < <(find tests/parallel -name 'test_*.py' | sort); else files=("$@"); fi
out=$(mktemp -d)
reasons=$(mktemp)
trap 'rm -rf "$out" "$reasons"' EXIT
failed=()
for file in "${files[@]}"; do
    rm -rf "${out:?}"/*
    # A limit on the whole file: a collective that a rank never enters must not hold the suite.
    if timeout --kill-after=10 "${PARALLEL_TIMEOUT_S:-600}" mpirun -np "$np" --bind-to none --output-filename "$out/log" \
        python -m pytest -q --color=no -p no:cacheprovider "$file" >"$out/mpirun" 2>&1; then
        printf 'np=%s %s: %s\n' "$np" "$file" "$(find "$out/log" -path '*rank.0/stdout' -exec tail -n 1 {} \;)"
    else
        failed+=("$file")
        printf 'np=%s %s: FAILED\n' "$np" "$file"
        for log in $(find "$out/log" -name stdout -o -name stderr | sort); do
            [ -s "$log" ] && printf -- '--- %s\n' "${log#"$out/log/"}" && tail -n 60 "$log"
            grep -m 20 -E '^(E  |FAILED|ERROR|rank [0-9]+:|[A-Za-z.]*(Error|Warning):)' "$log" |
                sed "s,^,$file ${log#"$out/log/"}: ," >>"$reasons" || true
        done
        tail -n 20 "$out/mpirun"
    fi
done
if [ ${#failed[@]} -gt 0 ]; then
    cat "$reasons"
    printf 'np=%s: failed: %s\n' "$np" "${failed[*]}"
    exit 1
fi
printf 'np=%s: %d files passed\n' "$np" "${#files[@]}"
