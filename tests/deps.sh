#!/bin/sh
# Installs the Debian packages named as arguments that are missing here. Called by `make deps`,
# which holds the list. Silent when all is there; needs root only when something is missing.
set -u

[ $# -gt 0 ] || exit 0
if ! command -v dpkg-query >/dev/null; then
	echo "deps: no dpkg on this host. These Debian packages are needed, under whatever name: $*"
	echo "deps: when they are there, say \`make DEBS= ...\`"
	exit 1
fi

installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null |
	sed -n 's/^installed //p')
missing=
for package in "$@"; do
	echo "$installed" | grep -qx "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
	echo "deps: missing packages, and only root can install them. An administrator would type:"
	echo "    apt-get install --no-install-recommends$missing"
	exit 1
fi

echo "deps: installing from Debian:$missing"
export DEBIAN_FRONTEND=noninteractive
apt_install() {
	apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 -qq -y \
		install --no-install-recommends $missing >/dev/null
}

# The package lists may be absent or old, and another apt (unattended upgrades) may hold them:
# dpkg's lock is waited for by apt itself, the one of the lists is not.
update_lists() {
	for try in 1 2 3 4 5 6; do
		apt-get -qq update && return 0
		echo "deps: apt-get update failed (try $try of 6)"
		[ "$try" = 6 ] || sleep 10
	done
	return 1
}

if ! ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1; then
	update_lists || exit 1
	apt_install && exit 0
else
	apt_install && exit 0
	echo "deps: that failed, trying once more with fresh package lists"
	update_lists && apt_install && exit 0
fi
echo "deps: apt-get could not install:$missing (its own message is above)"
exit 1
