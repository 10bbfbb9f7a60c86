#!/usr/bin/env bash
# A standby takes over: a lock is held by one partition, waited for in another, and survives the
# death of its holder.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
bin=$(cd "${APMP_BIN:-$here/../../build/release}" && pwd)
PATH=$bin:$PATH
export APMP_MACHINE=standby-$$ NO_COLOR=1
LEDGER=$(mktemp -d)
XDG_STATE_HOME=$LEDGER/state
export LEDGER XDG_STATE_HOME
trap 'apmp down >/dev/null 2>&1 || true; rm -rf "$LEDGER"' EXIT

mkfifo "$LEDGER/go" "$LEDGER/news"
exec {news}<> "$LEDGER/news"

say() { printf '\n== %s\n' "$*"; }
# Starts a program in a partition; what it says is news.
start() { apmp run "$@" >&"$news" 2>&1 & }
# Prints what the programs say, up to a line that begins with this.
until_news() {
	while read -r -u "$news" line; do
		printf '%s\n' "$line"
		[[ $line != "$1"* ]] || return 0
	done
}
instance() { apmp --json status | jq ".partitions[] | select(.name == \"$1\").instance.pid"; }

say "Power on"
apmp up "$here/machine.yaml" --name "$APMP_MACHINE"

say "The service in alpha writes two entries, and begins a third"
start alpha -- "$here/service.sh"
until_news "alpha: entry 1"
for number in 2 3; do
	echo > "$LEDGER/go"
	until_news "alpha: entry $number"
done

say "Its twin in beta waits for the lock"
start beta -- "$here/service.sh"
apmp run beta -- apmp-lock --try ledger -- true 2>&1 || echo "(exit status $?)"

say "A program in gamma sees who is a member"
start gamma -- apmp-events
until_news "member   gamma"

say "kill -9 of partition alpha's instance, in the middle of the third entry"
victim=$(instance alpha)
began=$(date +%s%N)
kill -9 "$victim"
after=()
while [ ${#after[@]} -lt 6 ]; do # gamma sees the death, beta gets the lock: in either order
	read -r -u "$news" line
	after+=("$line")
	[[ $line != "beta: serves"* ]] || took=$((($(date +%s%N) - began) / 1000000))
done
for who in 'apmp:' removed apmp-lock: beta:; do
	printf '%s\n' "${after[@]}" | grep "^$who"
done
printf 'It took %s ms from the kill until beta served.\n' "$took"

say "alpha boots again, and is the standby now"
apmp partition boot alpha
until_news "added    alpha 2"
start alpha -- "$here/service.sh"
apmp run alpha -- apmp-lock --try ledger -- true 2>&1 || echo "(exit status $?)"
echo > "$LEDGER/go"
until_news "beta: entry 4"

say "Nothing is missing in the ledger, and nothing is there twice"
paste -sd ' ' "$LEDGER/ledger"

say "Power off"
apmp down
