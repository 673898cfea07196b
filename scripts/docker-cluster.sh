#!/usr/bin/env bash
# The cluster of containers, for the docker-* targets of the Makefile.
#
#     scripts/docker-cluster.sh image           build the image, if anything in it changed
#     scripts/docker-cluster.sh train ARGS...   a cluster, NP ranks of `hvd-train train ARGS` on it, the run copied to runs/, no cluster
#     scripts/docker-cluster.sh up | shell | logs | down
#     scripts/docker-cluster.sh run COMMAND...  NP ranks of a command on the cluster that `up` made
#
# Read from the environment, all optional:
#     NP=4 HOSTS=2 SLOTS=   ranks, containers, ranks on each (as few as hold NP)
#     HOSTFILE=             hosts and slots from a file instead; the names are node1 to node8
#     DATA=                 a table or dataset directory of this machine, seen by every host, as --data
#     RUNS=runs             where run directories are kept on this machine
#     GPU=cuda              an image for NVIDIA's GPUs (hvd-train-cuda), and all GPUs of this machine for its one container
#     IMAGE=hvd-train BASE_IMAGE=debian:bookworm-slim BUILD_ARGS="--network=host"
#     BUILD=no              use IMAGE as it is
#     CLUSTER=hvd-train     name of the cluster of `up`; `train` makes one of its own
#     SHM=1g                /dev/shm of each host
#     COMPOSE_EXTRA=        another compose file over docker/compose.yaml
#     UP_LIMIT_S=60         how long the hosts may take to answer
#
# Needs bash, a Docker engine, and `docker compose` or docker-compose. Exit code: the training's; 2 for what was asked
# for wrongly, 3 where there is no engine, 4 for a host that does not come up or is lost.
set -euo pipefail
cd "$(dirname "$0")/.."
NP=${NP:-4} HOSTS=${HOSTS:-2} SLOTS=${SLOTS:-} HOSTFILE=${HOSTFILE:-} DATA=${DATA:-} RUNS=${RUNS:-runs}
GPU=${GPU:-none}
if [ "$GPU" = cuda ]; then IMAGE=${IMAGE:-hvd-train-cuda}; fi
IMAGE=${IMAGE:-hvd-train} BASE_IMAGE=${BASE_IMAGE:-debian:bookworm-slim} CLUSTER=${CLUSTER:-hvd-train}
UP_LIMIT_S=${UP_LIMIT_S:-60} MOST_HOSTS=8
# A rank that is silent for so long is frozen. Its host may be: the job has to end within 30 s.
WATCHDOG_S=12
COMPOSE_FILES=(-f docker/compose.yaml)

say() { printf '%s\n' "$*" >&2; }
fail() { # $1 exit code
    local code=$1
    shift
    say "error: $*"
    exit "$code"
}

need_engine() {
    command -v docker >/dev/null || fail 3 "there is no docker command here. Install an engine (Debian: apt-get install docker.io docker-compose), or train without: make train"
    timeout 20 docker info >/dev/null 2>&1 || fail 3 "no Docker engine answers (docker info). Start it, or ask for the right to use it (group docker)."
    if docker compose version >/dev/null 2>&1; then
        compose=(docker compose)
    elif command -v docker-compose >/dev/null; then
        compose=(docker-compose)
    else
        fail 3 "neither \`docker compose\` nor docker-compose is here. Debian: apt-get install docker-compose"
    fi
}

build_image() {
    local arguments=()
    read -ra arguments <<<"${BUILD_ARGS:-}"
    say "Building the image $IMAGE (the first time about 10 minutes: Horovod is compiled)"
    docker build "${arguments[@]}" --build-arg "BASE_IMAGE=$BASE_IMAGE" --build-arg "GPU=$GPU" --build-arg "VERSION=$(version)" \
        --build-arg "COMMIT=$(git describe --always --dirty --abbrev=40 2>/dev/null || echo unknown)" \
        -f docker/Dockerfile -t "$IMAGE" . >"$scratch/build.log" 2>&1 || {
        tail -n 40 "$scratch/build.log" >&2
        fail 1 "the image was not built (above)"
    }
}

version() { sed -n 's/^__version__ = "\(.*\)"/\1/p' hvd_train/__init__.py; }

# Fills `nodes`, `host_list` (node1:2,node2:2) and what compose.yaml reads.
plan() {
    local name count slots=0
    nodes=()
    [[ $NP =~ ^[1-9][0-9]*$ ]] || fail 2 "NP=$NP is not a number of ranks"
    if [ -n "$HOSTFILE" ]; then
        [ -r "$HOSTFILE" ] || fail 2 "HOSTFILE=$HOSTFILE cannot be read"
        host_list=
        while read -r name count; do
            [[ $count =~ ^slots=([1-9][0-9]*)$ ]] || fail 2 "HOSTFILE=$HOSTFILE: the line \"$name $count\" is not NAME slots=N"
            count=${BASH_REMATCH[1]}
            host_list+="${host_list:+,}$name:$count"
            slots=$((slots + count))
            if [[ $name =~ ^node[1-$MOST_HOSTS]$ ]]; then nodes+=("$name"); fi
        done < <(grep -vE '^[[:space:]]*(#|$)' "$HOSTFILE")
        [[ " ${nodes[*]} " == *" node1 "* ]] || fail 2 "HOSTFILE=$HOSTFILE does not name node1, where the job starts"
    else
        if ! [[ $HOSTS =~ ^[1-9][0-9]*$ ]] || [ "$HOSTS" -gt $MOST_HOSTS ]; then
            fail 2 "HOSTS=$HOSTS: docker/compose.yaml has 1 to $MOST_HOSTS hosts"
        fi
        [[ ${SLOTS:-1} =~ ^[1-9][0-9]*$ ]] || fail 2 "SLOTS=$SLOTS is not a number of ranks"
        count=${SLOTS:-$(((NP + HOSTS - 1) / HOSTS))}
        slots=$((HOSTS * count))
        for ((number = 1; number <= HOSTS; number++)); do nodes+=("node$number"); done
        host_list=$(printf "%s:$count," "${nodes[@]}")
        host_list=${host_list%,}
    fi
    plan_gpus
    [ "$NP" -le "$slots" ] || fail 2 "NP=$NP ranks do not fit into $slots slots ($host_list): ask for fewer, or for more HOSTS or SLOTS"
    if [ -n "$DATA" ]; then
        case $DATA in /*) ;; *) fail 2 "DATA=$DATA: give the whole path, from the root of the file system" ;; esac
        [ -r "$DATA" ] || fail 2 "DATA=$DATA cannot be read"
        export HVD_DATA=$DATA
        HVD_DATA_NAME=/$(basename "$DATA")
        export HVD_DATA_NAME
    fi
    export HVD_IMAGE=$IMAGE HVD_HOSTS="${nodes[*]}" HVD_SHM=${SHM:-1g}
    deal_cores
}

# Containers of one machine would share its GPUs, and NCCL refuses two ranks on one. So there is one container.
plan_gpus() {
    case $GPU in
    none) return ;;
    cuda) ;;
    *) fail 2 "GPU=$GPU: it is cuda (NVIDIA's GPUs) or none" ;;
    esac
    [ "${#nodes[@]}" = 1 ] || fail 2 "GPU=cuda HOSTS=${#nodes[@]}: containers of one machine would share its GPUs. Use HOSTS=1, with NP as many as there are GPUs"
    COMPOSE_FILES+=(-f docker/compose.gpu.yaml)
}

# Each host gets cores of its own, as machines have; with more hosts than cores they share.
deal_cores() {
    local cores number first last
    cores=$(docker info --format '{{.NCPU}}')
    for number in "${!nodes[@]}"; do
        if [ "${#nodes[@]}" -le "$cores" ]; then
            first=$((cores * number / ${#nodes[@]})) last=$((cores * (number + 1) / ${#nodes[@]} - 1))
        else
            first=$((number % cores)) last=$((number % cores))
        fi
        export "HVD_CPUS_${nodes[$number]#node}=$first-$last"
    done
}

in_cluster() { # compose with the cluster's files and name
    local files=("${COMPOSE_FILES[@]}")
    if [ -n "${COMPOSE_EXTRA:-}" ]; then files+=(-f "$COMPOSE_EXTRA"); fi
    "${compose[@]}" "${files[@]}" -p "$CLUSTER" "$@"
}

container() { # the id of host $1 of this cluster; empty if it is not there
    docker ps -aq --no-trunc --filter "label=com.docker.compose.project=$CLUSTER" --filter "label=com.docker.compose.service=$1"
}

up() {
    local name id deadline=$((SECONDS + UP_LIMIT_S))
    in_cluster up -d "${nodes[@]}" >"$scratch/up.log" 2>&1 || {
        cat "$scratch/up.log" >&2
        fail 4 "the containers were not started (above)"
    }
    head=$(container node1)
    for name in "${nodes[@]}"; do
        id=$(container "$name")
        until docker exec "$head" ssh -o ConnectTimeout=2 "$name" true >"$scratch/ssh.log" 2>&1; do
            if [ "$(docker inspect -f '{{.State.Running}}' "$id" 2>/dev/null || echo false)" != true ]; then
                docker logs --tail 5 "$id" >&2 || true
                fail 4 "$name ended before it answered (its last lines are above)"
            fi
            if [ $SECONDS -ge $deadline ]; then
                docker logs --tail 5 "$id" >&2 || true
                tail -n 1 "$scratch/ssh.log" >&2
                fail 4 "$name did not answer on ssh within $UP_LIMIT_S s (its last lines and ssh's are above)"
            fi
            sleep 0.3
        done
    done
    # The file that the hosts' users would write; horovodrun and mpirun both read it.
    tr ',' '\n' <<<"$host_list" | sed 's/:/ slots=/' | docker exec -i "$head" bash -c 'cat >/tmp/hostfile'
}

# Everything with the cluster's label, by any means: a container may be paused, a network busy for a moment.
down() {
    local label="label=com.docker.compose.project=$CLUSTER" attempt kind left=
    for attempt in 1 2 3; do
        docker ps -q --filter "$label" --filter status=paused | xargs -r docker unpause >/dev/null 2>&1 || true
        docker ps -aq --filter "$label" | xargs -r docker rm -fv >/dev/null 2>&1 || true
        for kind in network volume; do
            docker "$kind" ls -q --filter "$label" | xargs -r docker "$kind" rm >/dev/null 2>&1 || true
        done
        left=$(docker ps -aq --filter "$label" && docker network ls -q --filter "$label" && docker volume ls -q --filter "$label")
        if [ -z "$left" ]; then return 0; fi
        sleep "$attempt"
    done
    say "warning: of the cluster $CLUSTER this is left: $left"
}

# Clusters whose script is not there any more (SIGKILL, a lost terminal): their names hold its process id.
orphans() {
    local format='{{.Label "com.docker.compose.project"}}' label=label=hvd_train.cluster name
    {
        docker ps -a --filter "$label" --format "$format"
        docker network ls --filter "$label" --format "$format"
        docker volume ls --filter "$label" --format "$format"
    } | sort -u | while read -r name; do
        if [[ $name =~ ^hvd-train(-test)?-([0-9]+)(-[0-9]+)?$ ]] && ! ps -p "${BASH_REMATCH[2]}" >/dev/null; then echo "$name"; fi
    done
}

standing() {
    head=$(container node1)
    [ -n "$head" ] || fail 2 "there is no cluster $CLUSTER: make docker-up"
}

# `--resume` without a value, or of a directory on this machine: that run goes into the first host. Fills `arguments`.
send_resumed() {
    local index name run=
    for index in "${!arguments[@]}"; do
        case ${arguments[$index]} in
        --resume=*) run=${arguments[$index]#--resume=} ;;
        --resume)
            run=${arguments[$((index + 1))]:-}
            if [ -z "$run" ] || [[ $run == --* ]]; then
                run=$(find "$RUNS" -path '*/checkpoints/last.npz' -printf '%T@ %p\n' 2>/dev/null | sort -n | tail -n 1 | sed 's/^[^ ]* //; s,/checkpoints/last.npz$,,')
                [ -n "$run" ] || fail 2 "ARGS=--resume: no run with a checkpoint was found in $RUNS/"
                arguments=("${arguments[@]:0:index}" "--resume=$run" "${arguments[@]:index+1}")
            else
                arguments=("${arguments[@]:0:index}" "--resume=$run" "${arguments[@]:index+2}")
            fi
            ;;
        *) continue ;;
        esac
        [ -d "$run" ] || fail 2 "--resume $run: there is no such directory"
        say "Going on with $run"
        arguments[index]="--resume=runs/$(basename "$run")"
        # To the first host alone, which goes on writing there.
        docker exec "$head" mkdir -p /work/runs
        tar -C "$(dirname "$run")" -c "$(basename "$run")" | docker exec -i "$head" tar -x --no-same-owner -C /work/runs
        return
    done
}

train() {
    local code=0
    arguments=("$@")
    CLUSTER=hvd-train-$$-$RANDOM
    trap 'finish $?' EXIT
    up
    docker exec "$head" mkdir -p /work/runs
    send_resumed
    if [ -n "$DATA" ]; then arguments=(--data "/data$HVD_DATA_NAME" "${arguments[@]}"); fi
    say "Training on $NP ranks: $host_list"
    job hvd-train train --watchdog-s "$WATCHDOG_S" "${arguments[@]}" || code=$?
    exit "$code"
}

# Runs in a session of its own: Ctrl-C comes to this script, which ends the job in good order.
job() {
    local code=0
    setsid docker exec "$head" hvd-job --np "$NP" --hosts "$host_list" "$@" &
    job_pid=$!
    wait "$job_pid" || code=$?
    job_pid=
    return "$code"
}

interrupted() { # $1 exit code
    trap '' INT TERM HUP
    if [ -n "$job_pid" ]; then
        say "Stopping the job ..."
        timeout 30 docker exec "$head" hvd-job --stop || true
        wait "$job_pid" || true
    fi
    exit "$1"
}

finish() { # $1 exit code; the run is copied out whatever happened
    trap '' INT TERM HUP
    trap - EXIT
    if [ -n "$head" ]; then
        mkdir -p "$RUNS"
        if docker cp "$head:/work/runs/." "$RUNS/" >/dev/null 2>"$scratch/copy.log"; then
            docker diff "$head" 2>/dev/null | sed -n 's,^[AC] /work/runs/\([^/]*\)$,The run is in '"$RUNS"'/\1,p' >&2
        fi
        if [ "$1" != 0 ]; then
            tell_lost
            if docker diff "$head" 2>/dev/null | grep -q '/checkpoints/last.npz$'; then
                say "Go on with it in a new cluster: make docker-train NP=$NP HOSTS=$HOSTS ARGS=--resume"
            fi
        fi
    fi
    down
    rm -rf "$scratch"
    exit "$1"
}

# Which host is gone, where the job could only say that one is.
tell_lost() {
    local name state
    for name in "${nodes[@]}"; do
        state=$(docker inspect -f '{{if .State.Paused}}paused{{else if not .State.Running}}not running (exit code {{.State.ExitCode}}){{else if not .NetworkSettings.Networks}}cut off from the network{{end}}' "$(container "$name")" 2>/dev/null || echo gone)
        if [ -n "$state" ]; then say "error: host $name is $state"; fi
    done
}

scratch=$(mktemp -d) head='' job_pid=''
trap 'rm -rf "$scratch"' EXIT
trap 'interrupted 130' INT
trap 'interrupted 143' TERM
trap 'interrupted 129' HUP
verb=${1:-}
shift || true
case $verb in
image)
    need_engine
    build_image
    ;;
train)
    need_engine
    plan
    if [ "${BUILD:-yes}" != no ]; then build_image; fi
    train "$@"
    ;;
up)
    need_engine
    plan
    if [ "${BUILD:-yes}" != no ]; then build_image; fi
    trap 'code=$?; if [ $code != 0 ]; then down; fi; rm -rf "$scratch"; exit $code' EXIT
    up
    say "The cluster $CLUSTER is up: $host_list. make docker-shell, make docker-logs, make docker-down"
    ;;
run)
    need_engine
    plan
    standing
    job "$@"
    ;;
shell)
    need_engine
    standing
    say "On node1; the hosts are in /tmp/hostfile. horovodrun -np $NP --hostfile /tmp/hostfile hvd-train train"
    docker exec -it "$head" bash
    ;;
logs)
    need_engine
    standing
    in_cluster logs --tail=200
    ;;
down)
    need_engine
    for CLUSTER in "$CLUSTER" $(orphans); do down; done
    ;;
*) fail 2 "usage: scripts/docker-cluster.sh image | train | up | run | shell | logs | down" ;;
esac
