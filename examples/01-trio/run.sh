#!/usr/bin/env bash
# The first thing to type: a whole machine boots, agrees, trades a CPU, loses a member and goes on.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
PATH=${APMP_BIN:-$here/../../build/release}:$PATH
export APMP_MACHINE=demo-$$ NO_COLOR=1 # whatever else runs is left alone
XDG_STATE_HOME=$(mktemp -d)            # what outlives its power goes with the demo
export XDG_STATE_HOME

say() { printf '\n== %s\n' "$*"; }
# One figure out of the machine's status.
status() { apmp --json status | jq -r "$@"; }
# The newest event that a jq condition is true of.
newest() { apmp --json events | jq -cs "map(select($1)) | last"; }
ms() { jq -nr "(($2 - $1) / 10000 | round) / 100"; }
say "Power on: 6 CPUs, 192M and 3 partitions on $(nproc) host CPUs"
began=$(date +%s%N)
trap 'apmp down >/dev/null 2>&1 || true; rm -rf "$XDG_STATE_HOME"' EXIT
apmp up "$here/machine.yaml" --name "$APMP_MACHINE"
printf 'It took %s ms until all three were members of one sharing set.\n' \
	$(( ($(date +%s%N) - began) / 1000000 ))

say "The configuration tree, which the console alone may write"
apmp tree

say "The members: each instance watches its little brother"
status '.partitions[] | "\(.name): process \(.instance.pid), CPUs \(.cpus | join(" ")), watches partition \(.instance.little_brother), \(.instance.heartbeat) heartbeats so far"'

say "A program of yours, unchanged, in partition gamma"
program=$(apmp --json run gamma --detach -- sleep 600 | jq .pid)
allowed() { awk '/^Cpus_allowed_list/ {print $2}' "/proc/$program/status"; }
before=$(allowed)
printf 'sleep is process %s; gamma has CPU 5, so it may use host CPUs %s.\n' "$program" "$before"

say "CPU 2 migrates from alpha to gamma: alpha must agree, nobody takes it away"
apmp cpu migrate 2 --to gamma
printf 'The program may use host CPUs %s now, and was not told.\n' "$(allowed)"
[ "$(nproc)" -eq 1 ] || [ "$(allowed)" != "$before" ]
apmp cpu list

say "kill -9 of partition beta's instance"
last=$(newest true | jq .seq)
exec {events}< <(exec apmp --json events --follow --since "$((last + 1))")
follower=$!
kill -9 "$(status '.partitions[] | select(.name == "beta").instance.pid')"
while read -r -u "$events" event; do
	[ "$(jq -r .kind <<<"$event")" != member.removed ] || break
done
kill "$follower"
saw=$(newest '.kind == "instance.suspected" and .partition == "beta" and .by == "box"' | jq .t_ns)
fenced=$(newest '.kind == "instance.fenced" and .partition == "beta"' | jq .t_ns)
removed=$(jq .t_ns <<<"$event")
printf 'The box saw it end; %s ms later every process of it was gone for certain (the fence);\n' \
	"$(ms "$saw" "$fenced")"
printf '%s ms after that %s had removed it from the sharing set. Members now: %s.\n' \
	"$(ms "$fenced" "$removed")" "$(jq -r .by <<<"$event")" \
	"$(status '.communities[0].members | join(", ")')"

say "beta boots again and joins, as another incarnation"
apmp partition boot beta
status '.communities[0].members | "Members now: " + join(", ") + "."'
status '.partitions[] | select(.name == "beta") | "beta is incarnation \(.instance.incarnation), with CPUs \(.cpus | join(" "))."'

say "Power off"
apmp down
# What a machine of this name could leave: marked processes, control groups, its run directory.
# (What it keeps on purpose, so that CPU 2 is gamma's at the next `apmp up`, is in XDG_STATE_HOME.)
rundir=${XDG_RUNTIME_DIR:+$XDG_RUNTIME_DIR/apmp}
rundir=${rundir:-/tmp/apmp-$(id -u)}/$APMP_MACHINE
processes=$({ grep -lsz "^APMP_BOX=$rundir:" /proc/[0-9]*/environ || true; } | wc -l)
groups=$({ find /sys/fs/cgroup -maxdepth 4 -name "apmp-$APMP_MACHINE" 2>/dev/null || true; } | wc -l)
files=$({ find "$rundir" 2>/dev/null || true; } | wc -l)
printf 'Left behind: %s processes, %s control groups, %s files.\n' "$processes" "$groups" "$files"
[ "$((processes + groups + files))" -eq 0 ]
