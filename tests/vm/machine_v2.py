#!/usr/bin/python3
"""A virtual machine of this host's files and Debian's kernel, with cgroup v2 only: runs the chosen
tests in it, or a command. See README.md.

  machine_v2.py --fetch          gets the kernel and busybox into build/vm
  machine_v2.py [-k NAME]        the chosen tests whose name contains that
  machine_v2.py -- COMMAND...    a command, as root, at the top of this tree
"""
import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent
sys.path.insert(0, str(HERE.parent))
import check  # noqa: E402

VM = TOP / "build/vm"
OUT = VM / "out"  # what the machine writes

PACKAGES = ("linux-image-amd64", "busybox-static")
# In the order of their needs.
MODULES = ("drivers/virtio/virtio_ring", "drivers/virtio/virtio",
           "drivers/virtio/virtio_pci_legacy_dev", "drivers/virtio/virtio_pci_modern_dev",
           "drivers/virtio/virtio_pci", "fs/netfs/netfs", "fs/fscache/fscache", "net/9p/9pnet",
           "net/9p/9pnet_virtio", "fs/9p/9p", "fs/overlayfs/overlay")

LIMIT = 3600  # seconds; a guard against a machine that hangs
SLOWER = 4    # times; the patience of tests (tests/system/apmp.py)

# What a host with v1 can't show, and what moves CPUs or holds programs back.
UNIT = ("cpuset", "leftover")
ROOT = ("backends", "boot", "capacity", "limits", "migrate", "run")
USER = ("capacity", "migrate")  # of a user in a scope that is delegated to him

SCRIPT = """\
export APMP_BIN=$PWD/build/release APMP_BUILD=$PWD/build APMP_TEST_SLOW={slower} APMP_TEST_STOP=10s
export PYTHONDONTWRITEBYTECODE=1 CK_TIMEOUT_MULTIPLIER={slower}
rm -rf build/failures
for test in {unit}; do
	CK_TAP_LOG_FILE_NAME=/run/v2/$test.tap build/release/unit/test_$test
done
tests="/usr/bin/python3 -m pytest -q -p no:cacheprovider --tb=short {k}"
$tests --junitxml=/run/v2/root.xml {root}

# As systemd-run --user --scope -p Delegate=yes does.
slice=/sys/fs/cgroup/user.slice scope=/sys/fs/cgroup/user.slice/user.scope
for group in $slice $scope; do
	mkdir $group
	echo '+cpuset +cpu +memory +pids' >$group/../cgroup.subtree_control
done
chown -R 1000:1000 $scope
install -d -o 1000 -g 1000 /tmp/user
echo $$ >$scope/cgroup.procs
HOME=/tmp/user APMP_BUILD=/tmp/user setpriv --reuid=1000 --regid=1000 --clear-groups \
	$tests --junitxml=/run/v2/user.xml {user}
cp -r build/failures /tmp/user/failures /run/v2 2>/dev/null
"""


def fetch():
    """A kernel that is installed would be this host's next one: it is only unpacked."""
    shutil.rmtree(VM, ignore_errors=True)
    VM.mkdir(parents=True)
    said = subprocess.run(["apt-cache", "depends", PACKAGES[0]], check=True, capture_output=True,
                          text=True).stdout
    kernel = next(line.split()[-1] for line in said.splitlines() if "linux-image-" in line
                  and "Depends:" in line)
    subprocess.run(["apt-get", "-qq", "download", kernel, PACKAGES[1]], cwd=VM, check=True)
    for package in VM.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, VM / "root"], check=True)
        package.unlink()


def make_initramfs():
    """busybox, the modules that the root needs, and init."""
    tree = VM / "initramfs"
    shutil.rmtree(tree, ignore_errors=True)
    for folder in ("bin", "dev", "modules"):
        (tree / folder).mkdir(parents=True)
    shutil.copy(VM / "root/bin/busybox", tree / "bin")
    shutil.copy(HERE / "init", tree)
    kernel = next((VM / "root/lib/modules").glob("*/kernel"))
    for module in MODULES:
        shutil.copy(kernel / f"{module}.ko", tree / "modules")
    (tree / "modules/order").write_text("\n".join(Path(module).name for module in MODULES) + "\n")
    files = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
    with open(VM / "initramfs.img", "wb") as image:
        subprocess.run([VM / "root/bin/busybox", "cpio", "-o", "-H", "newc"], cwd=tree, check=True,
                       input=files.encode(), stdout=image, stderr=subprocess.DEVNULL)


def run(script):
    """Runs this text of sh in the machine; gives its exit code, or 1 if the machine gave none."""
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    (OUT / "run.sh").write_text(f"cd {shlex.quote(str(TOP))}\n{script}\n")
    shutil.copy(HERE / "guest.sh", OUT)
    share = "security_model=none,multidevs=remap"
    command = [
        "setpriv", "--pdeathsig=KILL", "qemu-system-x86_64", "-nodefaults", "-no-reboot",
        "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", str(os.cpu_count()), "-m", "4G",
        "-display", "none", "-serial", "stdio",
        "-kernel", str(next((VM / "root/boot").glob("vmlinuz-*"))),
        "-initrd", str(VM / "initramfs.img"), "-append", "console=ttyS0 quiet panic=-1 psi=1",
        "-virtfs", f"local,path=/,mount_tag=host,readonly=on,{share}",
        "-virtfs", f"local,path={OUT},mount_tag=out,{share}"]
    try:
        subprocess.run(command, stdin=subprocess.DEVNULL, timeout=LIMIT, check=False)
    except subprocess.TimeoutExpired:
        print(f"v2: the machine ran for more than {LIMIT} s")
    code = OUT / "code"
    return int(code.read_text()) if code.exists() else 1


def files(names):
    return " ".join(f"tests/system/test_{name}.py" for name in names)


def run_tests(wanted):
    unit = [name for name in UNIT if (wanted or "") in name]
    code = run(SCRIPT.format(slower=SLOWER, unit=" ".join(unit), root=files(ROOT),
                             user=files(USER), k=f"-k {shlex.quote(wanted)}" if wanted else ""))
    total = check.Result()
    for name in unit:
        passed, failed = check.tap_count(OUT / f"{name}.tap") or (0, ["it has said nothing"])
        total.passed += passed
        for line in failed:
            total.fail(f"test_{name}: {line}")
    for who in ("root", "user"):
        report = OUT / f"{who}.xml"
        if report.exists():
            total.add(check.junit_result(report))
        else:
            total.fail(f"the tests of {who} have not come to their end (exit code {code})")
    for sentence in total.failures:
        print(f"  FAIL  {sentence}")
    if (OUT / "failures").exists():
        print(f"kept for a look: {OUT / 'failures'}")
    print(f"{total.passed} passed, {total.failed} failed")
    return 1 if total.failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--fetch", action="store_true")
    parser.add_argument("-k", help="only tests whose name contains this")
    parser.add_argument("command", nargs="*")
    options = parser.parse_args()
    if options.fetch:
        fetch()
        return 0
    make_initramfs()
    if options.command:
        return run(shlex.join(options.command))
    return run_tests(options.k)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    sys.exit(main())
