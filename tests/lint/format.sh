#!/bin/bash
# Every C file is as .clang-format wants it; `make format` makes it so.
cd "$(dirname "$0")/../.." || exit 1

find apmpd chaos cli console instance shm tests -name '*.[ch]' -print0 |
	xargs -0 -r -n8 -P"$(nproc)" clang-format --dry-run --Werror --ferror-limit=1 2>&1 |
	sed -n 's/^\([^ :]*:[0-9]*\):[0-9]*: .*clang-format.*/\1: not formatted: make format/p' |
	{ ! grep . ; }
