"""Work per second of programs against the capacity of their partition's CPUs; what their load does
to heartbeats; and what the period of their quota does to a service among them."""
import contextlib
import json
import os
import statistics
from pathlib import Path

HOST_CPUS = len(os.sched_getaffinity(0))
EACH = 3  # CPUs on a host CPU
BUSY = max(4, 2 * HOST_CPUS)
WINDOW_MS = 1000
WINDOWS = 8
OFF_MOST = 0.1
LOAD_BEFORE = os.getloadavg()[0]
PERIODS_MS = (5, 10, 20, 50)


def machine_text(cpus, own):
    """Two partitions; a has the first `own` CPUs, b the rest. All stand round robin on the host
    CPUs."""
    return json.dumps({
        "machine": "{name}",
        "hardware": [{"sbb": 0, "cpus": cpus, "memory": "64M", "iops": [{"buses": [{}, {}]}]}],
        "communities": [{"name": "lab", "shared": "16M"}],
        "partitions": [
            {"name": name, "community": "lab", "cpus": owned, "memory": "8M",
             "buses": [f"0.0.{bus}"], "boot": True}
            for bus, (name, owned) in enumerate((("a", list(range(own))),
                                                 ("b", list(range(own, cpus)))))],
        "timing": {"stop": "2s"}})


def worker(context, world, machine, partition, what):
    """Programs in a partition, as many as said; or one that says how late it is."""
    return world.Peer("env", f"XDG_RUNTIME_DIR={machine.runtime}", *machine.command, "--name",
                      machine.name, "run", partition, "--", context.program("bench_work"), what)


def busy_in(context, world, machine, stack):
    """Four programs in each partition, or more where those could not fill the host."""
    return [stack.enter_context(worker(context, world, machine, name, BUSY)) for name in "ab"]


def work(workers):
    """What each does by second, in the same window."""
    for each in workers:
        each.say(f"{WINDOW_MS}\n".encode())
    said = [[int(word) for word in each.line().split()] for each in workers]
    return [done / (ns / 1e9) for done, ns in said]


def partitions(machine):
    return {partition["name"]: partition for partition in machine.status()["partitions"]}


def complain(context, complaint):
    """Of what others on this host can do as well: one host CPU may be busier than another."""
    if LOAD_BEFORE > HOST_CPUS:
        context.note(f"{complaint}; but the host was busy with something else")
    else:
        context.failures.append(complaint)


def compare(context, machine, workers, name):
    """Some windows with the CPUs as they are now."""
    now = partitions(machine)
    shares = [now[partition]["capacity"] for partition in "ab"]
    bench = context.bench(
        f"{name}-{len(now['a']['cpus'])}-to-{len(now['b']['cpus'])}", "work/s",
        f"work by {shares[0]:.2f} host CPUs of capacity, for each of them",
        f"that of the other partition, which has {shares[1]:.2f}")
    for _ in range(WINDOWS):
        done = work(workers)
        bench.add_round([done[0] / shares[0]], [done[1] / shares[1]])
    off = statistics.median(bench.ratios)
    if 1 - OFF_MOST < off < 1 + OFF_MOST:
        return
    complaint = (f"{bench.name}: work by capacity of one partition is {off:.2f} times that of the "
                 f"other, and within 10 % is wanted")
    if name == "share-own":
        complain(context, complaint)
    else:
        context.failures.append(complaint)


def silences(machine):
    """(how often members were silent for so many ticks and more, beats)"""
    nodes = [partition["instance"] for partition in partitions(machine).values()]
    longest = [sum(node["silences"][i] for node in nodes)
               for i in range(len(nodes[0]["silences"]))]
    return ({1 << i: sum(longest[i:]) for i in range(len(longest))},
            sum(node["heartbeat"] for node in nodes))


def silent(machine, during):
    """By 1000 beats: {ticks: how often a silence was as long} while this is done."""
    (before, beats_before) = silences(machine)
    during()
    (after, beats) = silences(machine)
    return {ticks: 1000 * (count - before[ticks]) / (beats - beats_before)
            for ticks, count in after.items()}


def said(counts):
    return ", ".join(f"{count:.2f} of {ticks}" for ticks, count in counts.items() if ticks <= 16)


def suspicions(machine):
    return sum(partition["instance"]["suspected"] for partition in partitions(machine).values())


def shared(context, world):
    """Several CPUs on each host CPU."""
    cpus = EACH * HOST_CPUS
    with contextlib.ExitStack() as stack:
        machine = stack.enter_context(world.machine_up(machine_text(cpus, 2 * HOST_CPUS)))
        nobody = stack.enter_context(world.Peer(context.program("bench_work"), 0))
        idle = silent(machine, lambda: [work([nobody]) for _ in range(WINDOWS)])
        suspected = suspicions(machine)
        workers = busy_in(context, world, machine, stack)
        busy = silent(machine, lambda: compare(context, machine, workers, "share"))
        for cpu in range(HOST_CPUS, 2 * HOST_CPUS):
            machine.apmp("cpu", "migrate", cpu, "--to", "b")
        compare(context, machine, workers, "share")
        for cpu in range(HOST_CPUS, HOST_CPUS + HOST_CPUS // 2):
            machine.apmp("cpu", "migrate", cpu, "--to", "a")
        compare(context, machine, workers, "share")
        context.note(f"silences of members in 1000 beats, by their length in ticks or more: idle "
                     f"{said(idle)}; with {BUSY} busy programs in each partition {said(busy)}")
        if suspicions(machine) != suspected:
            complain(context, "share: a member was suspected while programs were busy")


def own(context, world):
    """A host CPU under each CPU: the cpusets alone are the shares."""
    if HOST_CPUS < 3:
        context.note("share-own: with fewer than 3 host CPUs no CPU that has one of its own can "
                     "migrate, so both partitions have one all the time")
    first = HOST_CPUS - 1
    with contextlib.ExitStack() as stack:
        machine = stack.enter_context(world.machine_up(machine_text(HOST_CPUS, first)))
        workers = busy_in(context, world, machine, stack)
        compare(context, machine, workers, "share-own")
        if HOST_CPUS < 3:
            return
        for cpu in range(1, 1 + first // 2):
            machine.apmp("cpu", "migrate", cpu, "--to", "b")
        compare(context, machine, workers, "share-own")


def quota_group(world, machine, partition):
    """Its group in the cpu hierarchy of cgroup v1; None: there is none."""
    return next((Path(path) / f"P-{partition}"
                 for path in world.leftovers.cgroups(f"apmp-{machine.name}")
                 if (Path(path) / "cpu.cfs_quota_us").exists()), None)


def period(context, world):
    """A service beside busy programs of its partition, with quotas of several periods; without one
    they have the same weight and are as many."""
    with contextlib.ExitStack() as stack:
        cpus = EACH * HOST_CPUS
        machine = stack.enter_context(world.machine_up(machine_text(cpus, 2 * HOST_CPUS)))
        service, busy, other = (
            stack.enter_context(worker(context, world, machine, *what))
            for what in (("b", "late"), ("b", HOST_CPUS), ("a", 2 * HOST_CPUS)))
        service.timed(b"\n")  # its partition's first program has begun
        group = quota_group(world, machine, "b")
        if not group or not os.access(group / "cpu.cfs_quota_us", os.W_OK):
            context.note("share-late: there are no quotas here")
            return
        capacity = partitions(machine)["b"]["capacity"]
        benches = {ms: context.bench(f"share-late-{ms}ms", "us", "99th percentile of how late a "
                                     f"service is, with a quota in periods of {ms} ms",
                                     "the same without a quota") for ms in PERIODS_MS}
        for _ in range(WINDOWS):
            for ms, bench in benches.items():
                late = []
                for quota in (int(1000 * ms * capacity), -1):
                    (group / "cpu.cfs_period_us").write_text(str(1000 * ms))
                    (group / "cpu.cfs_quota_us").write_text(str(quota))
                    service.timed(b"\n")
                    work([busy, other])
                    late.append(int(service.timed(b"\n")[0]))
                bench.add_round(late[:1], late[1:])


def capacity(context, world):
    shared(context, world)
    own(context, world)
    period(context, world)
