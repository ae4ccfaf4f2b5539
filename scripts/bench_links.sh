#!/usr/bin/env bash
# Runs a program on several simulated hosts, one process and one thread each. A host is a network namespace; a link of the
# given rate connects it to a common switch. Needs root, iproute2 and Open MPI.
# Usage: bench_links.sh HOSTS MBIT_PER_S PROGRAM ARGS...
set -euo pipefail
hosts=$1 rate=$2 program=$(realpath "$3")
shift 3
here=$(mktemp -d) name=mae-$$
cleanup() {
    for i in $(seq 0 $hosts); do ip netns del "$name-$i" 2>/dev/null || true; done
    rm -rf "$here"
}
trap cleanup EXIT

# Namespace 0 is the switch.
ip netns add "$name-0"
ip -n "$name-0" link add switch type bridge
ip -n "$name-0" link set switch up
for i in $(seq 1 $hosts); do
    ip netns add "$name-$i"
    ip link add mae0 netns "$name-$i" type veth peer name "port$i" netns "$name-0"
    ip -n "$name-0" link set "port$i" master switch up
    ip -n "$name-$i" address add "10.78.0.$i/24" dev mae0
    ip -n "$name-$i" link set mae0 up
    ip -n "$name-$i" link set lo up
    ip netns exec "$name-$i" tc qdisc add dev mae0 root tbf rate "${rate}mbit" burst 32kb latency 500ms
done
# Replaces ssh. Each host has its own name and temporary files, because Open MPI's daemons would share them otherwise.
cat >"$here/agent" <<AGENT
#!/bin/sh
host=\${1##*.}
shift
mkdir -p $here/\$host
export TMPDIR=$here/\$host
exec ip netns exec $name-\$host unshare --uts sh -c "hostname mae\$host; \$*"
AGENT
chmod +x "$here/agent"

list=$(seq -s, -f '10.78.0.%g:1' 1 "$hosts")
# Algorithm 4 is the ring, for every size.
"$here/agent" 10.78.0.1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 RAYON_NUM_THREADS=1 \
    mpirun --host "$list" -n "$hosts" --bind-to none --mca plm_rsh_agent "$here/agent" -x RAYON_NUM_THREADS ${MAE_OVERLAP:+-x MAE_OVERLAP} \
    --mca btl self,tcp --mca btl_tcp_if_include mae0 --mca oob_tcp_if_include mae0 \
    --mca mpi_yield_when_idle 1 --mca coll_tuned_use_dynamic_rules 1 --mca coll_tuned_allreduce_algorithm 4 \
    "$program" "$@"
