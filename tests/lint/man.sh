#!/bin/bash
# Manual pages are without warnings of mandoc.
cd "$(dirname "$0")/../.." || exit 1

find apmpd chaos cli console instance shm -name '*.[158]' -print0 |
	xargs -0 -r mandoc -Tlint -Wwarning | sed 's/^mandoc: //' | { ! grep . ; }
