#!/usr/bin/env bash
# Work that goes on while CPUs come and go: tasks in the run queue of an instance.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
bin=$(cd "${APMP_BIN:-$here/../../build/release}" && pwd)
PATH=$bin:$PATH
tasks=$bin/tasks # `make` has built them from primes.c and spin.c
export APMP_MACHINE=tasks-$$ NO_COLOR=1
XDG_STATE_HOME=$(mktemp -d)
export XDG_STATE_HOME
trap 'apmp down >/dev/null 2>&1 || true; rm -rf "$XDG_STATE_HOME"' EXIT

say() { printf '\n== %s\n' "$*"; }
list() { apmp run alpha -- apmp-task --list "$@"; }

say "Power on"
apmp up "$here/machine.yaml" --name "$APMP_MACHINE"

say "How many primes are there below a million? One task on each of alpha's CPUs finds out"
apmp run alpha -- apmp-task "$tasks/primes.so" 1000000

say "A steady load of four tasks for three CPUs"
exec {output}< <(exec apmp run alpha -- apmp-task "$tasks/spin.so" 4)
load=$!
read -r -u "$output" line # what it prints is work per second
printf '%s\n' "$line"
list --json | jq -s 'map(.state) | group_by(.) | map("\(length) \(.[0])") | join(", ")' -r

say "Two of its CPUs leave: no task is lost"
apmp cpu migrate 1 2 --to beta
list --json | jq -s 'map(.state) | group_by(.) | map("\(length) \(.[0])") | join(", ")' -r

say "The primes again, while the load runs, and while the CPUs come back"
apmp run alpha -- apmp-task "$tasks/primes.so" 1000000 8 &
apmp cpu migrate 1 2 --to alpha
wait $!

say "A task that needs CPU 2 and no other: it does not leave"
exec {bound}< <(exec apmp run alpha -- apmp-task --bind 2 "$tasks/spin.so" 1)
bound_pid=$!
read -r -u "$bound" line
apmp cpu migrate 2 --to beta 2>&1 || echo "(exit status $?)"

say "Both are asked to end"
kill "$load" "$bound_pid"
until [ -z "$(list --json)" ]; do :; done
apmp cpu migrate 2 --to beta

say "Power off"
apmp down
