"""Fixtures of all tests: the leak guard, artefacts, and the embedded stack with detectors of 1, 2 and 3 receivers."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import gevent.monkey
import psutil
import pytest

from lima2_bliss.stack import Stack, default_config, write_detector

# Importing BLISS, for a unit test of one of its parts, would turn the sockets of this process over to gevent; the
# threads of every later test would fail on them. What needs a living BLISS runs in a process of its own (`run_bliss`).
gevent.monkey.patch_all = lambda **_: False

ROOT = Path(__file__).resolve().parents[1]
LEAK_WAIT_S = 5.0

SESSION = """\
- class: Session
  name: tests
  setup-file: ./tests_setup.py
  config-objects: [robx, roby, diode, simulator, sim1, sim3, MGdiode]
- class: MeasurementGroup
  name: MGdiode
  counters: [diode]
"""


#: A session with the ESRF data policy, whose data is beside the configuration; without data portal.
POLICY_SESSION = """\
class: Session
name: policy
setup-file: ./tests_setup.py
config-objects: [robx, diode, simulator, sim1, sim3]
scan_saving:
  class: ESRFScanSaving
  beamline: id00
  inhouse_data_root: {root}/{{beamline}}/inhouse
  visitor_data_root: {root}/visitor
  tmp_data_root: {root}/{{beamline}}/tmp
"""

#: The external writer of both sessions; tests that need it start it (tests/controller/nexus_writer.py).
NEXUS_WRITER = """\
server: nexuswriter
personal_name: tests
device:
- tango_name: id00/bliss_nxwriter/tests
  class: NexusWriter
  properties: {session: tests}
- tango_name: id00/bliss_nxwriter/policy
  class: NexusWriter
  properties: {session: policy}
"""


def _shared_memory() -> set[str]:
    return {path.name for path in Path("/dev/shm").iterdir() if path.name.startswith(("lima2", "psm_"))}


def _children() -> dict[int, str]:
    found = {}
    for child in psutil.Process().children(recursive=True):
        try:
            found[child.pid] = " ".join(child.cmdline())[:120]
        except psutil.Error:
            continue
    return found


def _threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if not thread.daemon or ":" in thread.name}


def _settled(leaks: Callable[[], list[str]]) -> list[str]:
    """What still leaks after everything that is ending had time to end."""
    deadline = time.monotonic() + LEAK_WAIT_S
    while (found := leaks()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


@pytest.fixture(autouse=True)
def leak_guard(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test that leaves child processes, threads of ours or shared memory behind."""
    fixtures = request.node._fixtureinfo.name2fixturedefs
    for name, definitions in fixtures.items():  # what module and session fixtures start is not the test's own
        if definitions[-1].scope != "function":
            request.getfixturevalue(name)
    threads, children, memory = _threads(), set(_children()), _shared_memory()
    yield
    if "stack" in fixtures:  # a process that the test restarted belongs to the stack
        record = request.getfixturevalue("stack").record()
        children |= set(record.pids.values()) if record else set()

    def leaks() -> list[str]:
        return [
            *(f"thread {thread.name}" for thread in _threads() - threads),
            *(f"process {pid}: {what}" for pid, what in _children().items() if pid not in children),
            *(f"shared memory {name}" for name in _shared_memory() - memory),
        ]

    found = _settled(leaks)
    assert not found, f"the test left behind: {found}"


@pytest.fixture(scope="session")
def artifacts() -> Path:
    """Directory where screenshots and transcripts of a test run are kept."""
    place = ROOT / "artifacts"
    place.mkdir(exist_ok=True)
    return place


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The embedded stack: sessions `tests`, `policy`; detectors sim1, simulator, sim3 over 1, 2, 3 receivers.

    Its configuration also has jfone and jf4m, Jungfraus over 4 and 2 receivers, that only the tests of them start.
    """
    base = tmp_path_factory.mktemp("stack")
    config = base / "config"
    shutil.copytree(default_config(), config)
    for name, receivers in (("sim1", 1), ("sim3", 3)):
        write_detector(config, name, receivers)
    for name, receivers in (("jfone", 4), ("jf4m", 2)):
        write_detector(config, name, receivers, "jungfrau")
    (config / "sessions" / "tests.yml").write_text(SESSION)
    (config / "sessions" / "policy.yml").write_text(POLICY_SESSION.format(root=base / "esrf"))
    (config / "tango" / "nexuswriter.yml").write_text(NEXUS_WRITER)
    (config / "sessions" / "tests_setup.py").write_text("from bliss.setup_globals import *\n")
    running = Stack(base / "state")
    try:
        running.up(config)
        yield running
    finally:
        running.down()


PRELUDE = """\
import sys
from bliss.config import static
config = static.get_config()
session = config.get({session!r})
session.setup()
env = session.env_dict
globals().update({{k: v for k, v in env.items() if not k.startswith("__")}})
from bliss.shell.standard import *
data_path = {data_path!r}
SCAN_SAVING = session.scan_saving
if SCAN_SAVING.data_policy != "ESRF":
    SCAN_SAVING.base_path = data_path
"""


DONE = "all of the script is done"


def _ended_only_after_all(done: subprocess.CompletedProcess[str]) -> bool:
    """One BLISS process in some hundred is ended by C++, when Python itself has ended; why is not known."""
    return (
        done.returncode == -signal.SIGABRT
        and done.stdout.rstrip().endswith(DONE)
        and done.stderr.rstrip().endswith("terminate called without an active exception")
    )


@pytest.fixture(scope="session")
def bliss_in(stack: Stack) -> Callable[[Path], Callable[..., str]]:
    """``bliss_in(directory)`` is like `run_bliss`, with data and script in that directory."""

    def runner(place: Path) -> Callable[..., str]:
        def run(
            code: str,
            timeout_s: float = 90.0,
            check: bool = True,
            env: Mapping[str, str] | None = None,
            session: str = "tests",
        ) -> str:
            script = place / "bliss_script.py"
            script.write_text(
                f"{PRELUDE.format(data_path=str(place), session=session)}{code}\nprint({DONE!r}, flush=True)\n"
            )
            done = subprocess.run(
                [sys.executable, str(script)],
                env={**stack.environment(), **(env or {})},
                capture_output=True,
                text=True,
                timeout=timeout_s,
                cwd=place,
            )
            if check and done.returncode and not _ended_only_after_all(done):
                pytest.fail(f"BLISS script failed ({done.returncode}):\n{done.stdout}\n{done.stderr}", pytrace=False)
            return done.stdout.replace(f"{DONE}\n", "") + ("" if check else done.stderr)

        return run

    return runner


@pytest.fixture
def run_bliss(bliss_in: Callable[[Path], Callable[..., str]], tmp_path: Path) -> Callable[..., str]:
    """Runs BLISS code in a process of its own with session `tests` set up; returns what it printed.

    The code finds `session`, `config`, `data_path` (a temporary directory set as SCAN_SAVING.base_path) and everything
    that the shell has. ``env`` adds variables to its environment, ``session`` is another session of the stack.
    """
    return bliss_in(tmp_path)


@pytest.fixture(scope="session", autouse=True)
def quiet_environment() -> None:
    """Tests neither see nor use a beacon or Tango of the host."""
    for key in ("BEACON_HOST", "TANGO_HOST"):
        os.environ.pop(key, None)
