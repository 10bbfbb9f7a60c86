#!/bin/bash
# Every header compiles alone: whoever includes it needs nothing before it.
cd "$(dirname "$0")/../.." || exit 1

alone() {
	gcc -std=gnu17 -D_GNU_SOURCE -I. -Wall -Wextra -Werror -fsyntax-only -x c \
		$(pkg-config --cflags libuv jansson hwloc libfyaml check) -include "$1" /dev/null
}
export -f alone
find apmpd chaos cli console instance shm tests -name '*.h' -print0 |
	xargs -0 -r -n1 -P"$(nproc)" bash -c 'alone "$0"' || exit 1
