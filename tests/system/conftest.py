"""Fixtures of the system tests.

`machine` is a trio that is up; `make_machine` makes machines from any text, not yet up; `box` and
`make_box` make those without a console. All end with everything powered off, and fail the test for
anything left behind. `shared` is a machine for the tests of a module that leave it as they found
it; the text is MACHINE of the module or the trio.
"""
import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # leftovers.py
sys.path.insert(0, str(Path(__file__).resolve().parent))         # apmp.py

import apmp  # noqa: E402
import freeze  # noqa: E402
import standin  # noqa: E402
from operator_calls import Operator, tree_of  # noqa: E402


# A job in the background of a script ignores it, and so would all that it starts: ^C is tested.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Lets the fixtures below know whether the test itself has failed."""
    report = (yield).get_result()
    setattr(item, f"report_{report.when}", report)


@pytest.fixture(autouse=True)
def hang_guard(request):
    """Ends a test that waits in a place without a watchdog, such as a read of a pipe. A module
    whose tests take long says so in HANG_GUARD."""
    seconds = getattr(request.module, "HANG_GUARD", 4 * apmp.WATCHDOG) + apmp.WATCHDOG

    def hung(_signal, _frame):
        raise AssertionError(f"this test hung for {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, hung)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def _failed(request):
    return any(getattr(request.node, f"report_{when}", None) is not None
               and getattr(request.node, f"report_{when}").failed for when in ("setup", "call"))


@pytest.fixture
def make_machine(request):
    """make_machine(text) gives a Machine that is not yet up; {name} in the text is its name."""
    machines = []

    def make(text=apmp.TRIO, name=None):
        machines.append(apmp.Machine(text, name))
        return machines[-1]

    yield make
    wrong = []
    for machine in machines:
        if _failed(request):
            print(f"kept for a look: {machine.save_failure(request.node.name)}")
        said = machine.close()
        if said and not _failed(request):
            said.append(f"kept for a look: {machine.save_failure(request.node.name)}")
        machine.remove()
        wrong += said
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)


@pytest.fixture
def freezer():
    try:
        ours = freeze.Freezer()
    except OSError as error:
        pytest.skip(f"no freezer: {error}")
    yield ours
    ours.close()


@pytest.fixture
def machine(make_machine, request):
    """A machine that is up; the marker machine_file(text) gives another one than the trio."""
    marker = request.node.get_closest_marker("machine_file")
    made = make_machine(marker.args[0] if marker else apmp.TRIO)
    try:
        made.up()
    except BaseException:
        print(f"kept for a look: {made.save_failure(request.node.name)}")
        raise
    return made


@pytest.fixture
def operator(machine):
    """Who calls the console of `machine` by itself; its tree is consistent afterwards."""
    yield Operator(machine)
    if machine.rundir.exists():
        tree_of(machine)


@pytest.fixture
def make_box(request):
    """make_box(text, NAME=value...) gives a Box, whose console is the test (standin.py), not yet
    up; what is named goes into its environment."""
    boxes = []

    def make(text=standin.MACHINE, **env):
        boxes.append(standin.Box(text))
        boxes[-1].env.update(env)
        return boxes[-1]

    yield make
    wrong = []
    for box in boxes:
        if _failed(request):
            for log in sorted(box.rundir.glob("*.log")):
                print(f"--- {log.name}\n{log.read_text()}")
        wrong += box.close()
        box.remove()
    assert not wrong, "\n".join(wrong)


@pytest.fixture
def box(make_box):
    return make_box()


class Shared:
    """The machine of a module: made when it is first wanted, and anew after a test that failed."""

    def __init__(self, text):
        self.text = text
        self.machine = None

    def get(self):
        if self.machine is None:
            self.machine = apmp.Machine(self.text)
            try:
                self.machine.up()
            except BaseException:
                print(f"kept for a look: {self.machine.save_failure(self.machine.name)}")
                self.close()
                raise
        return self.machine

    def close(self):
        machine, self.machine = self.machine, None
        if machine is None:
            return []
        wrong = machine.close()
        machine.remove()
        return wrong


@pytest.fixture(scope="module")
def _shared_of_module(request):
    shared = Shared(getattr(request.module, "MACHINE", apmp.TRIO))
    yield shared
    wrong = shared.close()
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)


@pytest.fixture
def shared(_shared_of_module, request):
    yield _shared_of_module.get()
    if _failed(request):
        print(f"kept for a look: {_shared_of_module.machine.save_failure(request.node.name)}")
        print("\n".join(_shared_of_module.close()))


def pytest_configure(config):
    config.addinivalue_line("markers", "machine_file(text): what the fixture machine runs")
