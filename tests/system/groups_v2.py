"""Groups of cgroup v2 as systemd hands them out, for tests as root; of a host that has no cpuset of
v1.
"""
import contextlib
import os
from pathlib import Path

import pytest

import leftovers

TOP = Path("/sys/fs/cgroup")
CONTROLLERS = leftovers.read(TOP / "cgroup.controllers").decode().split()
REMOUNT = f"umount --lazy {TOP} && mount -t cgroup2 none {TOP}"  # as a cgroup namespace sees it
DELEGATED = (".", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads")


def handed_on(group):
    return set((group / "cgroup.subtree_control").read_text().split())


def hand_on(group, controllers, sign="+"):
    (group / "cgroup.subtree_control").write_text(" ".join(sign + each for each in controllers))


def remove(path):
    for below in sorted(path.rglob("*"), reverse=True):
        if below.is_dir():
            below.rmdir()
    path.rmdir()


@contextlib.contextmanager
def slice_with(name, controllers, owner=None):
    """A group that hands these on to those below it; removed again, and they as well."""
    path = TOP / name
    if os.geteuid() != 0 or not {"cpuset", *controllers} <= set(CONTROLLERS):
        pytest.skip(f"no groups of cgroup v2 with {' '.join(controllers)}")
    missing = set(controllers) - handed_on(TOP)
    hand_on(TOP, missing)
    path.mkdir()
    hand_on(path, controllers)
    for file in DELEGATED if owner else ():
        os.chown(path / file, owner, owner)
    try:
        yield path
    finally:
        remove(path)
        with contextlib.suppress(OSError):  # somebody else hands it on as well by now
            hand_on(TOP, missing, "-")


def in_a_scope(path, owner=None):
    """Words before a command that give it a group of its own, as systemd-run --scope does."""
    files = " ".join(f"$scope/{file}" for file in DELEGATED)
    delegate = f"chown {owner}:{owner} {files} &&" if owner else ""
    return ["sh", "-c", f'scope={path}/run-$$.scope && mkdir $scope && {delegate} '
                        'echo $$ > $scope/cgroup.procs && exec "$@"', "sh"]
