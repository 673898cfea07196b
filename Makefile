# hvd_train: `make train` and `make test` are all you need; both set up what they need first.
# Settings: NP=2 ranks, ARGS="..." for hvd-train train, PYTHON=python3.12, MPI=system, VENV=.venv, GPU=cuda (in .venv-cuda)

SHELL := /bin/bash
GPU ?=
VENV ?= $(if $(filter cuda,$(GPU)),.venv-cuda,.venv)
NP ?= 2
ARGS ?=
BIN := $(VENV)/bin
# What mpirun needs on any machine stands in one file, which tests and Docker read too.
WITH_ENV := set -a; . scripts/mpi.env; set +a; export PATH="$(abspath $(BIN)):$$PATH";

# What TensorFlow announces while horovodrun looks whether it is there; no log level silences it.
CHATTER := absl::InitializeLog|port.cc:.*oneDNN|cpu_feature_guard|^To enable the following instructions

# Tests that wait more than they compute run side by side, in JOBS processes. SELECT picks tests by their markers;
# EXAMPLES=thorough draws more examples of each property.
JOBS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); echo $$((n < 4 ? n : 4)))
SELECT ?= not slow
EXAMPLES ?= quick
UNIT ?= tests/unit
# The tests start Python hundreds of times: each start compiles every module again where bytecode is not written.
NO_RECOMPILING := unset PYTHONDONTWRITEBYTECODE &&
PYTEST := $(NO_RECOMPILING) python -m pytest -q --durations=10

.DEFAULT_GOAL := help
.PHONY: help setup train test test-all test-rest oldest spark extras unit fuzz fuzz-smoke parallel launch hosts cluster cluster-smoke bench kills check lint format typecheck lock horovod-source horovod-patches clean distclean

help: ## this list
	@grep -hE '^[a-z%-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: ## make the environment (venv, locked packages, Open MPI, Horovod); nothing to do when it is up to date
	@GPU="$(GPU)" VENV="$(VENV)" scripts/setup.sh

train: setup ## train on NP=2 ranks under horovodrun; ARGS="--data songs.csv" for your own rows
	@$(WITH_ENV) horovodrun -np $(NP) hvd-train train $(ARGS) 2> >(grep -vE "$(CHATTER)" >&2)

test: unit parallel launch ## every behaviour once, at np = 2 (twelve minutes on two cores)

test-all: test test-rest ## everything: the test suite of CI, except hosts and docker-test (forty minutes)

# What depends on the number of ranks most. `make test-3` runs all folders.
MANY_RANKS := $(addprefix tests/parallel/,api distributed \
	$(addprefix keras/test_keras_,custom_steps.py elastic_state.py equivalence.py ops.py sync_batch_norm.py unlike_ranks.py) \
	$(addprefix training/test_,early_end.py local_workers.py train.py))

# What CI runs after `make test`: np = 3 and 8, slow trials of faults and of set-up, and more examples of each property.
test-rest: setup ## what `make test` leaves out
	@$(MAKE) --no-print-directory unit SELECT="hypothesis or slow" EXAMPLES=thorough
	@$(MAKE) --no-print-directory fuzz-smoke
	@$(WITH_ENV) $(NO_RECOMPILING) scripts/parallel_tests.py 3 -m "not slow" $(MANY_RANKS)
	@$(MAKE) --no-print-directory parallel launch SELECT="slow and not extra"

unit: setup ## tests without TensorFlow and MPI (ten seconds)
	@$(WITH_ENV) $(PYTEST) -n $(JOBS) --dist worksteal --hypothesis-profile=$(EXAMPLES) -m "$(SELECT)" $(UNIT)

# These tests need neither Open MPI nor Horovod, so the environment is made in a minute. Another Python is OLDEST=python3.10.
OLDEST ?= $(firstword $(wildcard $(HOME)/.pyenv/versions/3.10.*/bin/python3.10) /usr/bin/python3.10)
oldest: setup ## the unit tests under the oldest Python, OLDEST=python3.10, where it is installed (three minutes)
	@if ! $(OLDEST) --version >/dev/null 2>&1; then \
		echo "Python 3.10 is not here: make oldest was not run. OLDEST=PATH names one." >&2; exit 0; fi; \
	$(WITH_ENV) uv venv --quiet --allow-existing --python $(OLDEST) build/oldest && export VIRTUAL_ENV="$(abspath build/oldest)" && \
	uv pip install --quiet --require-hashes -r requirements/run.txt -r requirements/dev.txt && \
	uv pip install --quiet --no-deps --no-build-isolation -e . && \
	export PATH="$$VIRTUAL_ENV/bin:$$PATH" && $(PYTEST) -n $(JOBS) --dist worksteal -m "not slow" $(UNIT)

fuzz-smoke: setup ## every fuzzer for two seconds, with the same inputs each time
	@$(WITH_ENV) $(PYTEST) tests/fuzz

FUZZ_SECONDS ?= 600
fuzz: setup ## every fuzzer for FUZZ_SECONDS=600, with other inputs each time
	@$(WITH_ENV) export FUZZ_SECONDS="$(FUZZ_SECONDS)" FUZZ_SEED="$${FUZZ_SEED:-$$RANDOM}"; \
	python -m pytest -q -s -o timeout=0 tests/fuzz

# pytest itself runs under mpirun, one launch a folder. The report of rank 0 is shown, and every rank's where one fails.
parallel: setup ## tests under mpirun, at np = 2
	@$(WITH_ENV) $(NO_RECOMPILING) scripts/parallel_tests.py 2 -m "$(SELECT)"

test-%: setup ## all tests under mpirun, at np = %
	@$(WITH_ENV) $(NO_RECOMPILING) scripts/parallel_tests.py $*

launch: setup ## tests that start horovodrun and mpirun themselves, and those of the build of Horovod
	@$(WITH_ENV) $(PYTEST) -n $(JOBS) --dist loadfile -m "$(SELECT)" tests/launch tests/horovod

hosts: setup ## two hosts between network namespaces, which root can make; skipped elsewhere, with the reason (SELECT= for all)
	@$(WITH_ENV) $(PYTEST) -rs -m "$(SELECT)" tests/hosts

cluster-smoke: setup ## batch jobs under real Slurm and Grid Engine, as root, where Debian's packages are installed (six minutes)
	@$(WITH_ENV) $(PYTEST) -rs -m "$(SELECT)" tests/cluster

cluster: setup ## the same, OpenPBS too, which is built from its source the first time, and the long trials
	@scripts/openpbs.sh >/dev/null || echo "The tests of PBS will be skipped." >&2
	@$(MAKE) --no-print-directory cluster-smoke SELECT=

# PySpark is no part of the environment that trains, so it comes when it is asked for. Java is the machine's.
spark: setup ## training on a real cluster of Spark, a master and two workers on this machine; skipped without Java (six minutes)
	@$(WITH_ENV) export VIRTUAL_ENV="$(abspath $(VENV))"; uv pip install --quiet --require-hashes -r requirements/spark.txt && \
	$(PYTEST) -rs -m "$(SELECT)" tests/spark

# The packages of extras are no part of the environment that trains, so they join it when they are asked for. The server of
# MLflow wants other versions than a run, so it has an environment of its own.
MLFLOW_SERVER := build/mlflow-server
EXTRAS ?= tests/launch
extras: setup ## tests of optional packages: ONNX, a server, trackers, search (EXTRAS=tests/launch/search for one; four minutes)
	@$(WITH_ENV) export VIRTUAL_ENV="$(abspath $(VENV))"; \
	uv pip install --quiet --require-hashes $(foreach name,onnx serve search mlflow wandb,-r requirements/$(name).txt) && \
	{ test -x $(MLFLOW_SERVER)/bin/python || uv venv --quiet --python "$(abspath $(BIN))/python" $(MLFLOW_SERVER); } && \
	VIRTUAL_ENV="$(abspath $(MLFLOW_SERVER))" uv pip install --quiet --require-hashes -r requirements/mlflow-server.txt && \
	$(PYTEST) -rs -n $(JOBS) --dist loadfile -m extra $(EXTRAS)

bench: setup ## measure everything in docs/reference/performance-log.md (half an hour; nothing else should run)
	@$(WITH_ENV) benchmarks/performance.sh

kills: setup ## 100 faults under hvd-train supervise, half of them on two hosts, as root (half an hour; nothing else should run)
	@$(WITH_ENV) python benchmarks/kills.py --out benchmarks/results && python benchmarks/performance_tables.py

check: setup ## a two-rank smoke run of the debug recipe
	@$(WITH_ENV) horovodrun -np 2 hvd-train train --recipe debug --run-dir "$$(mktemp -d)/run"

# The packages of the site are no part of the environment that trains, so they come when they are asked for.
.PHONY: docs docs-serve
DOCS = uv pip install --quiet --require-hashes -r requirements/docs.txt && NO_MKDOCS_2_WARNING=1 mkdocs
docs: setup ## build the documentation into site/; a warning is an error
	@$(WITH_ENV) export VIRTUAL_ENV="$(abspath $(VENV))"; $(DOCS) build --quiet --strict

docs-serve: setup ## show the documentation on http://127.0.0.1:8000, and follow every change
	@$(WITH_ENV) export VIRTUAL_ENV="$(abspath $(VENV))"; $(DOCS) serve

lint: setup ## ruff, ruff format --check, mypy, import contracts, shellcheck, clang-format and g++ -Wall -Wextra
	@$(WITH_ENV) ruff check . && ruff format --check . && mypy && shellcheck $$(scripts/shell-files.sh)
	@# What only a newer Python has would fail on the oldest. numpy's types are those for the Python of this environment.
	@$(WITH_ENV) mypy --python-version 3.10 --no-warn-return-any
	@$(WITH_ENV) contracts=$$(lint-imports --no-cache 2>&1) || { echo "$$contracts"; exit 1; }
	@$(WITH_ENV) python scripts/horovod_sources.py

format: setup ## put the code into form
	@$(WITH_ENV) ruff check --fix . ; ruff format .

typecheck: setup ## mypy alone
	@$(WITH_ENV) mypy

horovod-source: setup ## Horovod's source in build/horovod-source, with each patch of ours as a commit, to edit
	@$(WITH_ENV) python scripts/horovod_commits.py unpack

horovod-patches: setup ## write hvd_train/horovod_build/patches from those commits
	@$(WITH_ENV) python scripts/horovod_commits.py export

# Both are built without the environment that trains, as pip does it elsewhere. twine looks at their metadata and the README.
.PHONY: dist
dist: setup ## the wheel and the source archive in dist/, checked by twine
	@rm -rf dist
	@$(WITH_ENV) scripts/version.sh
	@$(WITH_ENV) uv build --quiet && uvx --quiet --with-requirements requirements/dist.txt twine check --strict dist/*

lock: setup ## resolve the requirements anew and write the locks
	@$(WITH_ENV) scripts/lock.sh

clean: ## remove what runs and tests left
	rm -rf build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

distclean: clean ## and the environment too (the cached Horovod wheel stays)
	rm -rf $(VENV)

# --- Docker: one image, and clusters of containers (docs/how-to/docker.md) ---------------------------------------------------
# Settings: NP=4 ranks, HOSTS=2 containers, DATA=/abs/songs.csv, GPU=cuda, ARGS="..." for hvd-train train; needs an engine,
# and nothing else of this machine: `make setup` is for docker-test alone. With GPU=cuda there is one container.
HOSTS ?= $(if $(filter cuda,$(GPU)),1,2)
# The default above is for one machine.
CLUSTER_NP := $(if $(filter file,$(origin NP)),$(if $(filter cuda,$(GPU)),1,4),$(NP))
CLUSTER_OF := NP="$(CLUSTER_NP)" HOSTS="$(HOSTS)" GPU="$(GPU)" scripts/docker-cluster.sh
.PHONY: docker-image docker-train docker-up docker-shell docker-logs docker-down docker-test docker-reproduce docker-size

docker-image: ## build the image
	@$(CLUSTER_OF) image

docker-train: ## train NP=4 ranks on a cluster of HOSTS=2 containers; the run is copied to runs/, nothing else stays
	@$(CLUSTER_OF) train $(ARGS)

docker-up: ## a cluster of HOSTS containers that stays up
	@$(CLUSTER_OF) up

docker-shell: ## a shell on the first host of the cluster
	@$(CLUSTER_OF) shell

docker-logs: ## what the cluster's hosts said
	@$(CLUSTER_OF) logs

docker-down: ## take down the cluster, and whatever else of ours was left behind
	@$(CLUSTER_OF) down

docker-test: setup ## the tests of the image and of clusters, then the parallel and launch tests inside one
	@$(WITH_ENV) python -m pytest -q tests/docker
	@scripts/docker-test.sh

docker-reproduce: ## build the image twice from nothing, and compare every file
	@scripts/docker-reproduce.sh

docker-size: ## the image's size by layer
	@scripts/docker-size.sh
