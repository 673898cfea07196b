#!/usr/bin/env bash
# Measure everything that docs/reference/performance-log.md shows, and write the tables: `make bench`. About half an hour on 2 cores,
# during which nothing else should run. PEERS is the folder of the peers' environments, REPEATS how often each row runs.
set -euo pipefail
cd "$(dirname "$0")/.."
peers=${PEERS:-.peers}
results=benchmarks/results
benchmarks/peers/make_venvs.sh "$peers"
python benchmarks/peers/compare.py --repeats "${REPEATS:-5}" --seconds 3 --venvs "$peers" --out "$results"
python benchmarks/settings.py --repeats "${REPEATS:-5}" --seconds 1.5 --limit-s "${LIMIT_S:-900}" --out "$results"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
hvd-train bench --np 1 2 --repeats 3 --seconds 1.5 --measure scaling allreduce --recipe reference --out "$scratch"
python benchmarks/records.py bench "$scratch/bench.json" "$results"
python benchmarks/where.py --out "$results"
python benchmarks/replacements.py --out "$results"
python benchmarks/performance_tables.py
