#!/bin/bash
# Every C file is as .clang-format wants it; `make format` makes it so.
cd "$(dirname "$0")/../.." || exit 1

check() { # clang-format writes in pieces: its output is gathered, for others write beside it
	local said
	said=$(clang-format --dry-run --Werror --ferror-limit=1 "$@" 2>&1)
	[ -z "$said" ] || printf '%s\n' "$said"
}
export -f check
find apmpd chaos cli console instance shm tests -name '*.[ch]' -print0 |
	xargs -0 -r -n8 -P"$(nproc)" bash -c 'check "$@"' check |
	sed -n 's/^\([^ :]*:[0-9]*\):[0-9]*: .*clang-format.*/\1: not formatted: make format/p' |
	sort | { ! grep . ; }
