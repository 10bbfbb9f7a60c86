"""A sharing set that is made anew under programs that follow its members and hold its locks."""
import inside
from inside import Connection, request

FINGERPRINT = 64  # of the database's header, which lies at the start of the community's memory


def scribble(machine, size=32 << 20):
    """Writes over the fingerprint of the database, as a mad member could."""
    with open(machine.ram(size), "r+b", buffering=0) as memory:
        memory.seek(FINGERPRINT)
        memory.write(b"\xa5" * 8)


def test_programs_notice_nothing(machine):
    """No process dies, nobody is told of departures, and a lock that is held stays so, good.
    shows: DB-14, COMM-04"""
    before = machine.status()
    places = [inside.address_of(machine, name) for name in ("alpha", "beta", "gamma")]
    reader = Connection(places[2], "EVENTS")
    while reader.event().kind != inside.STATE_TOLD:
        pass
    holder, waiter = Connection(places[0], "LOCKS"), Connection(places[1], "LOCKS")
    held, wanted = holder.open("kept"), waiter.open("kept")
    holder.must("ACQUIRE", held)
    waiter.send(request("ACQUIRE", wanted, timeout=inside.NEVER))
    scribble(machine)
    machine.until(lambda state: state["reformed_of"] and not state["expected"],
                  lambda: machine.apmp("db", "show", json=True)[0]["database"])
    after = machine.at_rest(["alpha", "beta", "gamma"])
    assert [p["instance"]["pid"] for p in after["partitions"]] == [
        p["instance"]["pid"] for p in before["partitions"]]
    said = machine.try_apmp("run", "gamma", "--", "apmp-lock", "--try", "kept", "--", "true")
    assert (said.code, said.err) == (1, 'apmp-lock: lock "kept" is held\n')
    holder.must("RELEASE", held)
    assert waiter.receive().error == 0, "it was good all the time"
    waiter.must("RELEASE", wanted)
    machine.kill_partition("beta")
    event = reader.event()
    assert (event.kind, event.name, event.partition) == (inside.REMOVED, "beta", 1)
    for connection in (reader, holder, waiter):
        connection.close()
