#!/usr/bin/env bash
# The parallel tests with a rank on each of two containers, then the launch tests inside the first; `make docker-test`.
# Settings as for scripts/docker-cluster.sh. Left out are tests of `make setup`, of installing (the image has neither pip
# nor git), of the pages, which the image does not hold, and of Docker itself.
set -euo pipefail
cd "$(dirname "$0")/.."
export IMAGE=${IMAGE:-hvd-train} BASE_IMAGE=${BASE_IMAGE:-debian:bookworm-slim}
limit_s=${LIMIT_S:-2400}
read -ra arguments <<<"${BUILD_ARGS:-}"
if [ "${BUILD:-yes}" != no ]; then scripts/docker-cluster.sh image; fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
build() {
    docker build "${arguments[@]}" "$@" . >"$log" 2>&1 || {
        tail -n 40 "$log" >&2
        echo "error: the image of the tests was not built (above)" >&2
        exit 1
    }
}
build --build-arg "BASE_IMAGE=$BASE_IMAGE" --target locked -f docker/Dockerfile -t "$IMAGE-locked"
build --build-arg "IMAGE=$IMAGE" --build-arg "LOCKED=$IMAGE-locked" -f docker/Dockerfile.test -t "$IMAGE-test"

export IMAGE=$IMAGE-test BUILD=no NP=2 HOSTS=2 CLUSTER=hvd-train-test-$$ COMPOSE_EXTRA=docker/compose.test.yaml
trap 'scripts/docker-cluster.sh down; rm -f "$log"' EXIT
scripts/docker-cluster.sh up
head=$(docker ps -q --filter "label=com.docker.compose.project=$CLUSTER" --filter label=com.docker.compose.service=node1)
# mpirun takes its hosts from the file; its ranks on the other host get these variables.
hosts=(-e OMPI_MCA_orte_default_hostfile=/tmp/hostfile -e PYTEST_DEBUG_TEMPROOT=/shared
    -e "OMPI_MCA_mca_base_env_list=PYTEST_DEBUG_TEMPROOT=/shared")
code=0
timeout "$limit_s" docker exec "${hosts[@]}" "$head" scripts/parallel_tests.py 2 || code=$?
# No host beside it now: all cores, as on a machine of one's own.
docker update --cpuset-cpus "0-$(($(docker info --format '{{.NCPU}}') - 1))" "$head" >/dev/null
timeout "$limit_s" docker exec "$head" python -m pytest -q -p no:cacheprovider tests/launch \
    --ignore=tests/launch/setup --ignore=tests/launch/docker --ignore=tests/launch/docs --deselect tests/launch/cli/test_command.py::test_an_installed_package_has_all_its_files || code=$?
exit "$code"
