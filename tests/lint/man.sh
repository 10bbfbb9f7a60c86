#!/bin/bash
# Manual pages are without warnings of mandoc, and have every section that a user looks for.
cd "$(dirname "$0")/../.." || exit 1

mapfile -d '' pages < <(find apmpd chaos cli console instance shm -name '*.[158]' -print0)
mapfile -d '' library < <(find instance -name '*.3' -print0)
{
	mandoc -Tlint -Wwarning "${pages[@]}" "${library[@]}" | sed 's/^mandoc: //'
	for section in 'EXIT STATUS' FILES ENVIRONMENT EXAMPLES 'SEE ALSO'; do
		grep -L "^\.Sh $section" "${pages[@]}" | sed "s/$/:1: has no section $section/"
	done
} | { ! grep . ; }
