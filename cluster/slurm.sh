#!/usr/bin/env bash
# One study on a Slurm cluster: Ray starts on the nodes of this job, the study runs, Ray ends with it.
#
# When: the machines belong to a batch system. The store is a folder of the shared file system.
# Cost: nodes x hours of your allocation, from start to end whether busy or not; waiting in the queue is free.
#
#   CC_RAY_STORE=/shared/me/store sbatch cluster/slurm.sh SPACE [OPTIONS OF cc-ray run]
#
# Out of time or preempted: submit it again, the study goes on from what the store has.

#SBATCH --job-name=cc-ray
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --time=04:00:00
# Latency is measured with nothing else of CC-Ray on the node; other people's jobs are to stay away too.
#SBATCH --exclusive
# Two minutes before the time is up the study is told to stop.
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
# For steps that ask for GPUs; nodes without are cheaper for all others:
##SBATCH --gpus-per-node=1

set -euo pipefail

# Your environment, e.g.: source ~/cc-ray-env/bin/activate
: "${1:?name a search space: sbatch cluster/slurm.sh SPACE}"
: "${CC_RAY_STORE:?name a folder of the shared file system}"
export CC_RAY_STORE

# Nobody else on these nodes may use this Ray: a token that the processes of this job alone know.
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
# The first address of this node, which is the first of the job; set it where other nodes reach it by another.
ip=${CC_RAY_HEAD_IP:-$(hostname -I | cut -d ' ' -f 1)}
port=$((20000 + SLURM_JOB_ID % 10000))

# Models go by way of the store: Ray's own object store stays small.
common=(--num-cpus="$SLURM_CPUS_PER_TASK" --object-store-memory=536870912 --block)
pids=()
on() { # on NODES HOW MANY COMMAND...: begin it there, one on each
    local names=$1 count=$2
    shift 2
    srun --nodes="$count" --ntasks="$count" --cpus-per-task="$SLURM_CPUS_PER_TASK" --nodelist="$names" "$@" &
    pids+=($!)
}
wait_for() { # wait_for COUNT: until so many nodes are there
    python3 - "$ip:$port" "$1" <<'PYTHON'
import sys, time, ray

address, expected, here = sys.argv[1], int(sys.argv[2]), 0
deadline = time.monotonic() + 300
while here < expected:
    if time.monotonic() > deadline:
        sys.exit(f"{here} of {expected} nodes of Ray came within 5 minutes")
    try:
        ray.init(address, log_to_driver=False, ignore_reinit_error=True)
        here = sum(node["Alive"] for node in ray.nodes())
    except ConnectionError:
        pass  # listens, but is not ready
    time.sleep(1)
PYTHON
}
trap 'kill "${pids[@]}" 2>/dev/null || true; wait' EXIT

on "$head" 1 ray start --head --node-ip-address="$ip" --port="$port" --include-dashboard=false \
    --temp-dir="/tmp/ray-$SLURM_JOB_ID" "${common[@]}"
until (: <>"/dev/tcp/$ip/$port") 2>/dev/null; do
    kill -0 "${pids[0]}" || { echo "the head of Ray ended; see above" >&2; exit 1; }
    sleep 1
done
wait_for 1
if ((${#nodes[@]} > 1)); then
    others=$(IFS=,; echo "${nodes[*]:1}")
    on "$others" $((${#nodes[@]} - 1)) ray start --address="$ip:$port" "${common[@]}"
    # Estimates of the time left would begin too high.
    wait_for "${#nodes[@]}"
fi

cc-ray run "$@" --address "$ip:$port" &
study=$!
# As Ctrl-C does: at a SIGTERM Ray itself may abort the process before it is done.
trap 'kill -INT "$study" 2>/dev/null || true' TERM INT
code=0
wait "$study" || code=$?
# A signal ends the first wait, not the study, which has yet to write down where it stopped.
while kill -0 "$study" 2>/dev/null; do
    code=0
    wait "$study" || code=$?
done
exit "$code"
