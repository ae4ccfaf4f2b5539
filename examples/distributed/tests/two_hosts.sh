#!/usr/bin/env bash
# Trains on two hosts: two network namespaces with an address each, joined by one link, which is cut in the end.
# Needs root, iproute2 and Open MPI.
# Usage: two_hosts.sh PROGRAM FOLDER_OF_IMAGES
set -euo pipefail
program=$(realpath "$1") data=$(realpath "$2")
here=$(mktemp -d)
a=mae-a-$$ b=mae-b-$$
cleanup() {
    ip netns pids "$a" 2>/dev/null | xargs -r kill -9 || true
    ip netns pids "$b" 2>/dev/null | xargs -r kill -9 || true
    ip netns del "$a" 2>/dev/null || true
    ip netns del "$b" 2>/dev/null || true
    rm -rf "$here"
}
trap cleanup EXIT

ip netns add "$a"
ip netns add "$b"
ip link add mae0 netns "$a" type veth peer name mae0 netns "$b"
for host in "$a 10.77.0.1" "$b 10.77.0.2"; do
    read -r name address <<<"$host"
    ip -n "$name" address add "$address/24" dev mae0
    ip -n "$name" link set mae0 up
    ip -n "$name" link set lo up
done

# What ssh is between real hosts: runs a command on the host of that address. Each has a name and temporary files of its
# own, or Open MPI's daemons would share them.
cat >"$here/agent" <<AGENT
#!/bin/sh
case \$1 in 10.77.0.1) host=$a ;; *) host=$b ;; esac
shift
mkdir -p $here/\$host
export TMPDIR=$here/\$host
exec ip netns exec \$host unshare --uts sh -c "hostname \$host; \$*"
AGENT
chmod +x "$here/agent"

# The second host has a folder for its own files: only the first one sees the run.
run() {
    "$here/agent" 10.77.0.1 env OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 RAYON_NUM_THREADS=1 \
        mpirun --host 10.77.0.1:1,10.77.0.2:1 -n 2 --bind-to none --mca plm_rsh_agent "$here/agent" \
        --mca btl self,tcp --mca btl_tcp_if_include mae0 --mca oob_tcp_if_include mae0 \
        --mca oob_tcp_keepalive_time 3 --mca oob_tcp_keepalive_intvl 1 --mca oob_tcp_keepalive_probes 3 \
        -x RAYON_NUM_THREADS -x MAE_TIMEOUT_S=20 \
        "$program" --quiet --data "$data" --image-size 32 --patch-size 8 --batch-size 4 "$@"
}
sent() { ip netns exec "$a" cat /sys/class/net/mae0/statistics/tx_bytes; }

echo "--- two hosts train"
before=$(sent)
run --epochs 20 --stop-after 100 --out "$here/run" >"$here/out" 2>&1 && exit 1 || [ $? = 130 ]
steps=$(wc -l <"$here/run/metrics.jsonl")
[ "$steps" = 100 ]
# Once in each direction: 2 (n - 1) / n is 1 for two ranks. A step adds up some single numbers beside the gradients.
millions=$(sed -n 's/.*, \([0-9.]*\) M of them trained.*/\1/p' "$here/out")
python3 - "$(($(sent) - before))" "$steps" "$millions" <<'PYTHON'
import sys
sent, steps, millions = map(float, sys.argv[1:])
theory = 2 * (2 - 1) / 2 * millions * 1e6 * 4
print(f"{steps:.0f} updates; {sent / steps / 1e6:.3f} MB sent an update, {theory / 1e6:.3f} MB in theory: {sent / steps / theory:.3f} times")
assert 0.95 < sent / steps / theory < 1.15
PYTHON

echo "--- the link is cut"
run --epochs 100000 --out "$here/cut" >"$here/out" 2>&1 &
job=$!
until [ "$(cat "$here/cut/metrics.jsonl" 2>/dev/null | wc -l)" -gt 20 ]; do
    kill -0 "$job"
    sleep 0.1
done
ip -n "$a" link set mae0 down
began=$SECONDS
if wait "$job"; then
    echo "the job ended as if nothing had happened"
    exit 1
fi
echo "ended after $((SECONDS - began)) s: $(grep -iE 'error|lost|unreachable|closed' "$here/out" | head -2)"
[ $((SECONDS - began)) -lt 60 ]
sleep 2
if pgrep -f -- "--out $here/cut" >/dev/null; then
    echo "processes are left"
    exit 1
fi
