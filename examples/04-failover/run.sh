#!/usr/bin/env bash
# A main partition fails, first with a word and then without one; its backup gets the CPUs and the
# service, and a client has each of its requests done exactly once.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
bin=$(cd "${APMP_BIN:-$here/../../build/release}" && pwd)
PATH=$bin:$PATH
export APMP_MACHINE=failover-$$ NO_COLOR=1
place=$(mktemp -d)
export XDG_STATE_HOME=$place/state
trap 'apmp down >/dev/null 2>&1 || true; rm -rf "$place"' EXIT

mkfifo "$place/news"
exec {news}<> "$place/news"

say() { printf '\n== %s\n' "$*"; }
# Starts a program in a partition; what it says is news, with the partition's name.
program() {
	local partition=$1
	shift
	{ apmp run "$partition" -- "$@" 2>&1 || true; } | sed -u "s/^/$partition: /" >&"$news" &
}
# Waits for the next line that begins with this, and prints it; others are passed over.
await() {
	while read -r -u "$news" line; do
		[[ $line != "$1"* ]] || { printf '%s\n' "$line"; return 0; }
	done
}
cpus() { apmp --json status | jq -r ".partitions[] | select(.name == \"$1\") | \"CPUs of \\(.name): \\(.active | join(\" \"))\""; }
# Until the machine says that the CPUs of a partition that failed have come to where they go.
await_cpus() {
	while read -r -u "$events" event; do
		[ "$(jq -r '.kind + " " + .partition' <<<"$event")" != "failover.done $1" ] || break
	done
}

say "Power on"
apmp up "$here/machine.yaml" --name "$APMP_MACHINE"
exec {events}< <(exec apmp --json events --follow)

say "The service serves in main, stands by in backup; a client asks it once a millisecond"
program main failover-service "$place"
await "main: serves"
program backup failover-service "$place"
await "backup: stands by"
program client failover-client "$place" c1 0
cpus main
cpus backup

say "main crashes, and says so"
apmp partition crash main
await "client: request"
await_cpus main
cpus backup

say "main boots again, and is the backup of its backup now"
apmp partition boot main
program main failover-service "$place"
await "main: stands by"

say "backup's instance is killed: nobody says anything"
apmp chaos inject kill backup
await "client: request"
await_cpus backup
cpus main

say "The client's account"
kill "$(pgrep -f "^failover-client $place c1 0\$")"
await "client: "

say "Power off"
apmp down
