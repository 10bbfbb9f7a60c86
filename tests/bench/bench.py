#!/usr/bin/python3
"""make bench: how fast the machine is, as ratios to peers that are measured in the same run.

    bench.py --bin build/release --json build/bench.json [-k PART-OF-A-NAME]

What each line measures, and why its peer is that: README.md beside this file.
"""
import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import bench_capacity
import bench_failover
import bench_figures
from bench_removed import removed

MIGRATE_MOST = 1.3   # times its peer, the median of all rounds
TICK_NS = 2_000_000  # of the machines here, as of any whose file says nothing else


def migrate(context):
    """One CPU of a trio goes from alpha to gamma and back, again and again; in several trios, for
    where the host puts a machine's processes stays so and decides much."""
    inside = context.bench("migrate", "us", "CpuMigrate until the CPU is active, in the console",
                           "the same chain of hops and cpuset writes, with nothing done at them")
    outside = context.bench("migrate-operator", "us", "CpuMigrate at the operator's socket",
                            "the same chain, at a socket of its first process")
    for _ in range(4):
        with contextlib.ExitStack() as stack:
            machine = stack.enter_context(world.machine_up())
            link = stack.enter_context(contextlib.closing(machine.connect()))
            asks = [link.message("CpuMigrate", cpu=2, to=to) for to in ("gamma", "alpha")]
            host_cpus = {}
            for ask in asks:  # the first one starts a thread
                link.timed(ask)
                for partition in link.call("Status")["status"]["partitions"]:
                    host_cpus.setdefault(partition["name"], []).append(partition["host_cpus"])
            chain = peer_chain(context, stack, machine, link, host_cpus)
            for _ in range(40):
                migrate_round(link, asks, chain, inside, outside)
    ratio = statistics.median(inside.ratios)
    if ratio > MIGRATE_MOST:
        context.failures.append(f"migrate: it takes {ratio:.2f} times as long as its peer, and "
                                f"{MIGRATE_MOST} times is the most")


def migrate_round(link, asks, chain, inside, outside):
    ours, peers = [], []
    for ask in asks * 4:
        reply, taken = link.timed(ask)
        ours.append((reply["elapsed_ns"], taken))
        line, taken = chain.timed(b"x")
        peers.append((int(line.split()[0]), taken))
    for bench, side in ((inside, 0), (outside, 1)):
        bench.add_round([each[side] for each in ours], [each[side] for each in peers])


def peer_chain(context, stack, machine, link, host_cpus):
    """The peer of a migration, warm; says its hops."""
    program = context.program("peer_chain")
    primary = {partition["name"]: partition["primary"]
               for partition in link.call("Status")["status"]["partitions"]}
    stands_on = {cpu["id"]: cpu["host_cpu"] for cpu in link.call("Status")["status"]["cpus"]}
    arguments = [stands_on[primary["alpha"]], stands_on[2], stands_on[primary["gamma"]]]
    alpha_without, alpha_with = host_cpus["alpha"]
    gamma_with, gamma_without = host_cpus["gamma"]
    like = machine.group()
    if like and os.access(like.parent, os.W_OK):
        top = stack.enter_context(world.scratch_groups(like, {"alpha": alpha_with,
                                                              "gamma": gamma_without}))
        arguments += [top / "alpha", alpha_with, alpha_without,
                      top / "gamma", gamma_with, gamma_without]
    else:
        context.note("migrate: the peer writes no cpusets, for there is no cgroup v1 to write to")
    chain = stack.enter_context(world.Peer(program, *arguments))
    hops = [chain.timed(b"x")[0].split()[1] for _ in range(2)]
    every = subprocess.run([program, "--hops"], capture_output=True, text=True, check=True)
    ways = [line.split("\t")[0] for line in every.stdout.splitlines()]
    context.note(f"migrate: a chain of {len(ways)} hops ({ways.count('futex')} futex, "
                 f"{ways.count('socket')} socket), of which {hops[0]} there and {hops[1]} back "
                 f"carry something: the host CPUs of alpha are {alpha_with} with the CPU and "
                 f"{alpha_without} without, of gamma {gamma_with} and {gamma_without}. The last "
                 f"two come when the CPU is active, and in no time. "
                 f"The operator's two hops come on top.")
    return chain


def there_and_back(link, cpu, to):
    """Elapsed ns of a CPU's migrations, in the console: there and back."""
    return [link.timed(ask)[0]["elapsed_ns"]
            for ask in (link.message("CpuMigrate", cpu=cpu, to=name) for name in to)]


def migrate_unchanged(context):
    """What must not matter: programs that compete for the receiver's host CPU, other partitions."""
    busy = context.bench("migrate-busy", "us", "a migration while four programs of the receiver "
                         "are busy", "the same while they are stopped")
    many = context.bench("migrate-64", "us", "a migration in a machine of 64 partitions",
                         "the same in a trio")
    with contextlib.ExitStack() as stack:
        trio = stack.enter_context(world.machine_up())
        crowd = stack.enter_context(world.machine_up(many_with_a_spare(64)))
        links = [stack.enter_context(contextlib.closing(each.connect())) for each in (trio, crowd)]
        there_and_back(links[0], 2, ("gamma", "alpha"))
        there_and_back(links[1], 64, ("p1", "p0"))
        for _ in range(40):
            few = there_and_back(links[0], 2, ("gamma", "alpha") * 3)
            many.add_round(there_and_back(links[1], 64, ("p1", "p0") * 3), few)
        pids = [int(trio.apmp("run", "gamma", "--detach", "--", "sh", "-c", "while :; do :; done"))
                for _ in range(4)]
        for _ in range(40):
            samples = {}
            for number in (signal.SIGCONT, signal.SIGSTOP):
                for pid in pids:
                    os.kill(pid, number)
                samples[number] = there_and_back(links[0], 2, ("gamma", "alpha") * 3)
            busy.add_round(samples[signal.SIGCONT], samples[signal.SIGSTOP])


def many_with_a_spare(count):
    """A machine of so many partitions, of which the first has one CPU more."""
    return (apmp.many(count).replace(f"cpus: {count},", f"cpus: {count + 1},")
            .replace("cpus: [0],", f"cpus: [0, {count}],"))


def kill_and_boot(context):
    """beta is killed, is seen to be removed, and boots again."""
    removed = context.bench("kill-to-removed", "us", "SIGKILL of a member to member.removed",
                            "SIGKILL of an idle process with the same memory to its pidfd")
    boot = context.bench("partition-boot", "ms", "PartitionBoot until it is a member",
                         "fork and exec of a process that touches the same memory")
    with world.machine_up() as machine, contextlib.closing(machine.connect()) as link, \
            contextlib.closing(machine.connect()) as other, \
            world.Peer(context.program("peer_spawn")) as spawn:
        events = other.follow(since=1)
        ask = link.message("PartitionBoot", name="beta", wait=True)
        beta = partition_of(link, "beta")
        touched, threads = world.resident(beta["instance"]["pid"])
        for _ in range(20):
            kills, boots, peer_kills, peer_boots = [], [], [], []
            for _ in range(10):
                kills.append(kill_beta(link, events))
                boots.append(link.timed(ask)[1])
                peer_boots.append(start_peer(spawn, 1, beta["memory"], beta["memory"], 1)[1])
                peer_kills.append(kill_peer(spawn, beta["memory"], touched, threads))
            removed.add_round(kills, peer_kills)
            boot.add_round(boots, peer_boots)


def partition_of(link, name):
    return next(partition for partition in link.call("Status")["status"]["partitions"]
                if partition["name"] == name)


def kill_beta(link, events):
    """ns from the kill to its removal."""
    pidfd = os.pidfd_open(partition_of(link, "beta")["instance"]["pid"])
    begin = time.monotonic_ns()
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    os.close(pidfd)
    return next(event["t_ns"] for event in events if event["t_ns"] > begin and
                event["kind"] == "member.removed" and event["partition"] == "beta") - begin


def start_peer(spawn, count, size, touched, threads, ends=True):
    """Starts processes; gives their ids and how long it took. ends: and kills them again."""
    line, taken = spawn.timed(f"start {count} {size} {touched} {threads}\n".encode())
    pids = [int(pid) for pid in line.split()]
    if ends:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        spawn.line()
    return pids, taken


def kill_peer(spawn, size, touched, threads):
    (pid,), _ = start_peer(spawn, 1, size, touched, threads, ends=False)
    begin = time.monotonic_ns()
    os.kill(pid, signal.SIGKILL)
    return int(spawn.line()) - begin


def up(context):
    """A whole trio is switched on."""
    bench = context.bench("up", "ms", "apmp up until all three are members",
                          "fork and exec of as many processes with the same memory between them")
    with world.Peer(context.program("peer_spawn")) as spawn:
        for _ in range(8):
            machine = world.Machine()
            try:
                begin = time.monotonic_ns()
                machine.up()
                ours = time.monotonic_ns() - begin
                count = len(machine.processes()) + 1  # apmp, which has ended
                each = sum(p["memory"] for p in machine.status()["partitions"]) + SHARED
                each = each // count // 4096 * 4096
            finally:
                wrong = machine.close()
                machine.remove()
            if wrong:
                raise RuntimeError(f"after apmp down: {wrong}")
            bench.add_round([ours], [start_peer(spawn, count, each, each, 1)[1]])


SHARED = 32 << 20  # of the trio's community

CPU_MOST = 0.01 * 1e6  # us/s that an idle instance may use


def heartbeat(context):
    """Nothing happens but heartbeats; both sides run at the same time. What a partition costs must
    not grow with their number."""
    per_partition = {}
    for count in (2, 8, 32, 64):
        cpu = context.bench(f"heartbeat-{count}", "us/s",
                            f"CPU time of an idle instance, one of {count}, in a second",
                            "a process that wakes up as often and increments a word")
        memory = context.bench(f"memory-{count}", "KiB", "memory of all processes, by partition",
                               "that process")
        boot = context.bench(f"up-{count}", "ms", f"apmp up of {count}, by partition",
                             "fork and exec of a process with the same memory")
        with contextlib.ExitStack() as stack:
            idle_machine(context, stack, count, cpu, memory, boot)
        per_partition[count] = [statistics.median(bench.ours) for bench in (cpu, memory, boot)]
        if per_partition[count][0] > CPU_MOST:
            too_much(context, count, per_partition[count][0], statistics.median(cpu.peers))
    least, most = per_partition[2], per_partition[64]
    context.note("64 partitions, each compared with one of 2: " + ", ".join(
        f"{most[i] / least[i]:.2f} of its {what}"
        for i, what in enumerate(("CPU time", "memory", "time to boot"))))


def too_much(context, count, ours, peers):
    """More than the bound: our fault, unless the least that wakes up as often needs it as well."""
    said = (f"heartbeat-{count}: an idle instance uses {ours / 1e4:.2f} % of a CPU, and "
            f"{CPU_MOST / 1e4:.0f} % is the most; its peer uses {peers / 1e4:.2f} %")
    if ours > 1.25 * peers:
        context.failures.append(said)
    else:
        context.note(said)


def idle_machine(context, stack, count, cpu, memory, boot):
    """One machine of so many partitions, measured while it does nothing."""
    machine = stack.enter_context(world.machine_off(apmp.many(count)))
    spawn = stack.enter_context(world.Peer(context.program("peer_spawn")))
    begin = time.monotonic_ns()
    machine.up()
    boot.add_round([(time.monotonic_ns() - begin) / count],
                   [start_peer(spawn, 1, 4 << 20, 4 << 20, 1)[1]])
    status = machine.status()
    ours = [partition["instance"]["pid"] for partition in status["partitions"]]
    peers = [stack.enter_context(world.Peer(context.program("peer_tick"), each["host_cpu"],
                                            TICK_NS, 250)) for each in status["cpus"]]
    peers[-1].line()
    before = busy(ours, peers)
    for _ in range(8):
        peers[-1].line()
        after = busy(ours, peers)
        wall = (after[0] - before[0]) / 1e9 * 1e3 * count
        cpu.add_round([(after[1] - before[1]) / wall], [(after[2] - before[2]) / wall])
        before = after
    memory.add_round([sum(world.memory(pid) for pid, _ in machine.processes()) / count],
                     [world.memory(peers[0].pid)])
    for peer in peers:
        peer.hang_up()
    if ours != [p["instance"]["pid"] for p in machine.status()["partitions"]]:
        raise RuntimeError("an instance did not live through it: the host was too busy")


def busy(ours, peers):
    """Now, CPU time of ours and of the peers, in ns."""
    return (time.monotonic_ns(), sum(map(world.cpu_ns, ours)),
            sum(world.cpu_ns(peer.pid) for peer in peers))


ALONE = """\
machine: {name}
hardware: [{sbb: 0, cpus: 1, memory: 16M, iops: [{buses: [{}]}]}]
partitions: [{name: solo, cpus: [0], memory: 8M, buses: ["0.0.0"], boot: yes}]
"""


def callback(context):
    """An instance asks its console; in several machines, for where the host puts two processes
    stays so for a while and decides much."""
    peer_is = "a round trip of the same sizes between two processes, both of which sleep"
    benches = [context.bench(f"callback-{where}-cpu", "us", "LIMITS, in a thread of an instance "
                             f"that sleeps; console and peer on {where} host CPU", peer_is)
               for where in ("its", "another")]
    for _ in range(3):
        with world.instance_of_ours(context.program("bench_callback"), ALONE) as player, \
                world.Peer(context.program("peer_socket"), player.dir / "peer") as peer:
            peer.line()
            with player.up() as (machine, report):
                callback_rounds(context, benches, machine, peer, report)


def callback_rounds(context, benches, machine, peer, report):
    """Left alone, a server stands here or there by chance, and there costs four times as much; so
    ours and the peer's stand on the same host CPU."""
    its = {machine.status()["cpus"][0]["host_cpu"]}
    console = next(pid for pid, command in machine.processes() if "apmp-console" in command)
    for bench, where in zip(benches, (its, os.sched_getaffinity(0) - its)):
        if not where:
            context.note(f"{bench.name}: there is no other host CPU")
            continue
        os.sched_setaffinity(console, where)
        os.sched_setaffinity(peer.pid, where)
        for _ in range(20):
            report.send(b"x")
            samples = memoryview(report.recv(1 << 20)).cast("Q").tolist()
            bench.add_round(samples[::2], samples[1::2])


def lock_and_point(context):
    """What is done most often, in one process."""
    mutex = "lock and unlock of a robust process-shared pthread mutex"
    clock = "clock_gettime"
    benches = {
        "lock-protocol": context.bench("db-lock", "ns", "the database lock, nobody else wants it",
                                       mutex),
        "lock-recorded": context.bench("db-lock-recorded", "ns", "with its two points recorded",
                                       mutex),
        "point": context.bench("point", "ns", "the passing of a point: clock and entry", clock),
        "point-entry": context.bench("point-entry", "ns", "the entry alone", clock),
        "point-unarmed": context.bench("point-unarmed", "ns",
                                       "a point on the path of a lock, nothing armed",
                                       "the call of nothing")}
    done = subprocess.run([context.program("bench_lock"), "21"], capture_output=True, text=True,
                          check=True, timeout=60)
    for line in done.stdout.splitlines():
        name, ours, peer = line.split()
        benches[name].add_round([float(ours)], [float(peer)])


def named_lock(context):
    """Locks between instances, in processes of their own."""
    mutex = "the same with a robust process-shared pthread mutex"
    benches = {
        "named-lock": context.bench("named-lock", "ns", "a named lock that nobody else wants",
                                    mutex),
        "named-lock-contended": context.bench("named-lock-contended", "ns",
                                              "one turn of two processes that want it", mutex),
        "named-lock-recovery": context.bench(
            "named-lock-recovery", "ns", "kill of the holder until a waiter has it", mutex)}
    done = subprocess.run([context.program("bench_named_lock"), "21", "50"], capture_output=True,
                          text=True, check=True, timeout=60)
    for line in done.stdout.splitlines():
        name, ours, peer = line.split()
        benches[name].add_round([float(ours)], [float(peer)])


def capacity(context):
    """Programs, and the capacity of their partition."""
    bench_capacity.capacity(context, world)


def failover_gap(context):
    """A partition that fails, and the client of its service."""
    bench_failover.gaps(context, world)


def failover_cpus(context):
    """A partition that fails, and its CPUs."""
    bench_failover.cpus(context, world)


MEASURES = (migrate, migrate_unchanged, kill_and_boot, removed, up, heartbeat, callback,
            lock_and_point, named_lock, capacity, failover_gap, failover_cpus)


class Context:
    """Where the programs are, and what was measured."""

    def __init__(self, programs):
        self._programs = programs
        self.benches, self.notes, self.failures = [], [], []

    def program(self, name):
        return str(self._programs / "bench" / name)

    def bench(self, *arguments):
        self.benches.append(bench_figures.Bench(*arguments))
        return self.benches[-1]

    def note(self, sentence):
        if sentence not in self.notes:
            self.notes.append(sentence)

    def run(self, measure):
        """One of the functions above; prints its lines."""
        first = len(self.benches)
        try:
            measure(self)
        except (RuntimeError, OSError, AssertionError, ValueError,
                subprocess.SubprocessError) as error:
            self.failures.append(f"{measure.__name__}: {error}")
            print(f"{measure.__name__}: {error}", file=sys.stderr)
        for bench in self.benches[first:]:
            if bench.ratios:
                print(bench_figures.table_line(bench.as_json()), flush=True)


def host():
    """What the figures depend on, before anything is measured."""
    model = next((line.split(":", 1)[1].strip() for line in
                  Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), "unknown")
    return {"kernel": os.uname().release, "cpus": os.cpu_count(), "model": model,
            "load": os.getloadavg()[0]}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--bin", type=Path, default=Path("build/release"))
    parser.add_argument("--json", type=Path, default=Path("build/bench.json"))
    parser.add_argument("-k", default="", metavar="PART", help="only what has this in its name: "
                        + ", ".join(measure.__name__ for measure in MEASURES))
    options = parser.parse_args()
    if not any(options.k in measure.__name__ for measure in MEASURES):
        parser.error(f'nothing has "{options.k}" in its name')
    return options


def main():
    options = parse_arguments()
    context = Context(options.bin.resolve())
    before = host()
    print(f"{before['cpus']} host CPUs, {before['model']}, Linux {before['kernel']}, load "
          f"{before['load']:.1f}")
    print(bench_figures.TITLES)
    for measure in MEASURES:
        if options.k in measure.__name__:
            context.run(measure)
    for sentence in context.notes:
        print(sentence)
    if before["load"] > before["cpus"]:
        print("The host was busy with something else: ratios hold, times don't.")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(
        {"host": before, "notes": context.notes, "failures": context.failures,
         "benches": [bench.as_json() for bench in context.benches if bench.ratios]},
        indent=1) + "\n")
    return 1 if context.failures else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # The system tests' machine finds its programs by this, when it is imported.
    os.environ["APMP_BIN"] = str(parse_arguments().bin.resolve())
    import bench_machine as world
    import apmp
    sys.exit(main())
