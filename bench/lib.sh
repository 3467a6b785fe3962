# shellcheck shell=bash
# What the scripts of this folder share: a scratch folder that ends with the script, a meter for CPU time, medians and a
# server. Sourced first; it makes the repository's root the current folder.
#
#   RUNS     how often each figure is taken; its median is printed (default 3)
#   NETWORK  the server's range of addresses (default: one that is free)
set -euo pipefail
shopt -s inherit_errexit nullglob
# In a mount namespace of the script's own, no mount outlives it, whatever ends it.
[ -n "${IMX_BENCH_INSIDE:-}" ] || IMX_BENCH_INSIDE=1 exec unshare --mount "$0" "$@"
cd "$(dirname "${BASH_SOURCE[0]}")/.."

imx=$PWD/bin/imx
runs=${RUNS:-3}
server= # the process id of the server that runs
data=   # its data folder
inside=()

# enter_groups DIR...: from now on, "${inside[@]}" COMMAND... runs COMMAND in these cgroups.
enter_groups() {
  # shellcheck disable=SC2016 # expanded by that shell
  inside=(sh -c 'for g in $0; do echo $$ >"$g/cgroup.procs" || exit; done; exec "$@"' "$*")
}

cleanup() {
  stop_server
  local g pids
  for g in "${group:-}" "${memory:-}"; do
    [ -d "$g" ] || continue
    for _ in $(seq 100); do # what ends may start something before it does
      mapfile -t pids <"$g/cgroup.procs"
      [ "${#pids[@]}" -eq 0 ] || kill -KILL "${pids[@]}" 2>/dev/null || true
      rmdir "$g" 2>/dev/null && break
      sleep 0.1
    done
  done
  umount "$scratch" 2>/dev/null || umount --lazy "$scratch" 2>/dev/null || true
  rm -rf --one-file-system "$place"
}

say() { printf '== %s\n' "$*" >&2; }

# quietly COMMAND...: keeps its output in $scratch/output, and shows the end of it if it fails.
quietly() {
  "$@" </dev/null >"$scratch/output" 2>&1 || { tail -n 40 "$scratch/output" >&2; return 1; }
}

# Microseconds of CPU time (user and system) that the group has used.
cpu() { awk '$1 == "usage_usec" {print $2}' "$group/cpu.stat"; }

# metered FIGURE COMMAND...: runs COMMAND and records the CPU seconds that the group used meanwhile.
metered() {
  local figure=$1 before
  shift
  before=$(cpu)
  "$@" || return
  record "$figure" "$(awk -v a="$before" -v b="$(cpu)" 'BEGIN {printf "%.3f\n", (b - a) / 1e6}')"
}

# A figure is a file with one number a line. record adds one, median prints the middle one, total their sum.
record() { mkdir -p "$scratch/figures" && echo "$2" >>"$scratch/figures/$1" && say "$1: $2"; }
median() { sort -g "$scratch/figures/$1" 2>/dev/null | awk '{v[NR] = $1} END {if (NR) print (v[int((NR + 1) / 2)] + v[int((NR + 2) / 2)]) / 2}'; }
total() { awk '{s += $1} END {if (NR) print s}' "$scratch/figures/$1" 2>/dev/null; }

# Milliseconds since a moment of $EPOCHREALTIME.
wall() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN {printf "%.1f\n", (b - a) * 1000}'; }

# start_server DATA [COMMAND...]: starts a server in the group, by way of COMMAND, and waits until it answers.
start_server() {
  data=$1
  shift
  export IMX_DATA=$data
  mkdir -p "$data"
  : >"$scratch/ready"
  "${inside[@]}" "$@" "$imx" server --data "$data" --listen none ${NETWORK:+--network "$NETWORK"} >"$scratch/ready" 2>"$scratch/server.log" &
  server=$!
  for _ in $(seq 300); do
    grep -q 'answers on' "$scratch/ready" && return
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
  done
  tail -n 40 "$scratch/server.log" >&2
  return 1
}

# stop_server ends the server, if one runs, with all that it started.
stop_server() {
  [ -n "$server" ] || return 0
  "$imx" destroy --all --volumes --yes --data "$data" >/dev/null 2>&1 || true
  kill "$server" 2>/dev/null || true
  for _ in $(seq 300); do kill -0 "$server" 2>/dev/null || break; sleep 0.1; done
  kill -KILL "$server" 2>/dev/null || true
  wait "$server" 2>/dev/null || true
  server=
  "$imx" server purge --yes --data "$data" >/dev/null 2>&1 || true
}

client() { "${inside[@]}" "$imx" "$@"; }

place=$(mktemp -d "${TMPDIR:-/tmp}/imx-bench-XXXXXX")
scratch=$place/files
trap cleanup EXIT
trap 'exit 130' INT TERM

# The scratch folder is a new file system. On one where much was removed lately, ext4 looks long for numbers of files that
# it may use again, and whoever comes next pays for it: up to a third more for the same build.
mkdir "$scratch"
truncate -s 32G "$place/disk"
mkfs.ext4 -q "$place/disk"
mount -o loop "$place/disk" "$scratch"
chmod 755 "$place" "$scratch" # apt drops its rights while it fetches

# Whatever is measured runs in a cgroup of its own. The v2 tree counts CPU time for all processes of a group, ended ones
# and those that nobody waited for included, without any controller being switched on.
tree=$(findmnt -nft cgroup2 -o TARGET) || { echo "bench: no cgroup v2 tree is mounted, so CPU time can't be measured" >&2; exit 1; }
group=$tree/imx-bench-$$
mkdir "$group"
enter_groups "$group"
