#!/usr/bin/env bash
# A service that writes a ledger. It is started in two partitions: one of them has the lock and
# serves, the other waits for it. An entry is two lines, so a death may leave half of one.
set -euo pipefail

ledger=$LEDGER/ledger
complete() { grep -c '^end' "$ledger" || true; }

case ${1:-} in
'') # The lock, or the wait for it. Who gets it from the dead repairs before anything else.
	touch "$ledger"
	exec apmp-lock --repair "$0 repair" ledger -- "$0" serve
	;;
repair)
	number=$(complete)
	echo "$APMP_PARTITION: entry $((number + 1)) was half written; it is taken out"
	head -n $((number * 2)) "$ledger" > "$ledger.new"
	mv "$ledger.new" "$ledger"
	;;
serve)
	echo "$APMP_PARTITION: serves; the ledger has $(complete) entries"
	while :; do
		number=$(($(complete) + 1))
		echo "begin $number" >> "$ledger"
		echo "$APMP_PARTITION: entry $number begun"
		read -r _ < "$LEDGER/go" # what it does takes until somebody says so
		echo "end $number" >> "$ledger"
	done
	;;
esac
