"""Runs a series of experiments in a BLISS process and prints what came of each."""

from __future__ import annotations

import gc
import math
import os
import statistics
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gevent
import psutil
from trouble_checks import Greenlets, clean_scan_faults, end_faults, file_faults, promised, stream_faults, took
from trouble_makers import Trouble
from trouble_plan import ENDLESS, Experiment, experiment
from trouble_scans import make_scan, pulse, settle
from trouble_stages import Stages

from lima2_bliss.stack import Stack
from lima2_bliss.stack.processes import MARK, marked

#: A scan that ends by itself is over after this, whatever happens [s]; what does not is ended by Ctrl-C.
NATURAL_S = 6.0
#: Beyond this the process hangs: it prints where, and ends [s].
HANGS_S = 150.0


@dataclass
class Result:
    """What an experiment gave; times in seconds."""

    experiment: Experiment
    stage: str = ""
    how: str = ""
    ended_s: float = 0.0
    restart_s: float = 0.0
    next_s: float = 0.0
    saved: int = 0
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        times = f"over after {self.ended_s:.2f} s, restart {self.restart_s:.2f} s, next scan {self.next_s:.2f} s"
        return f"{self.experiment} ({self.stage}): {times}, {self.saved} saved, {self.how}"


class Series:
    """Experiments ``first`` to ``first + count - 1`` of a seed, in ``session``, on detectors by name."""

    def __init__(self, session: Any, detectors: dict[str, Any], motor: Any, place: Path) -> None:
        self._session, self._detectors, self._motor = session, detectors, motor
        self._stack = Stack(Path(os.environ[MARK]))
        self._stages, self._greenlets = Stages(), Greenlets()
        for det in detectors.values():
            settle(det, place)
            for kind in ("smx", "ct"):  # kernels are loaded, connections are made
                make_scan(kind, [det], motor, False)()

    def run(self, seed: int, count: int, first: int = 0, budget_s: float = math.inf) -> list[Result]:
        """All that can be begun in ``budget_s``; each is printed."""
        results: list[Result] = []
        until = time.monotonic() + budget_s
        for number in range(first, first + count):
            if time.monotonic() > until:
                break
            what = experiment(seed, number)
            watchdog = gevent.spawn_later(HANGS_S, give_up, what)
            result = self._one(what)
            watchdog.kill()
            print(result, flush=True)
            for fault in result.faults:
                print(f"  FAULT {fault}", flush=True)
            results.append(result)
        return results

    def _one(self, what: Experiment) -> Result:
        result = Result(what)
        dets = [self._detectors[name] for name in what.detectors]
        det = dets[0]
        if what.trouble == "detector_fails":
            det.detector["failed_frame_idx"] = 1 + what.room % 10
        before = self._session.scans[-1]
        self._stages.clear()
        task = gevent.spawn(_outcome, make_scan(what.scan, dets, self._motor, what.saved))
        pulses = gevent.spawn(pulse, det, task) if what.pulses else None
        if what.stopped_first:
            self._stages.wait("reading", task, 0.3)
            task.kill(KeyboardInterrupt, block=False)
        result.stage = self._stages.wait(what.stage, task, 1.0)
        gevent.sleep(what.delay_s)
        trouble = Trouble(what, self._stack, task, lambda: self._images(before, what))
        began = time.monotonic()
        try:
            trouble.make()
            passed = time.monotonic()
            late_s = self._end(what, task, passed)
        finally:
            _, result.restart_s = took(trouble.undo)
            if what.trouble == "detector_fails":
                det.detector["failed_frame_idx"] = 0
        result.ended_s = time.monotonic() - began - result.restart_s
        if pulses is not None:
            pulses.join(5)
        error = task.value
        result.how = "done" if error is None else f"{type(error).__name__}: {error}"
        result.faults += end_faults(what, error, late_s / busy())
        result.faults += (f"left running: {one}" for one in self._greenlets.left(10.0))
        result.faults += self._scan_faults(before, what, result)
        faults, result.next_s = took(lambda: list(clean_scan_faults(det, what.recover)))
        result.faults += faults
        for other in dets[1:]:
            result.faults += clean_scan_faults(other, False)
        return result

    def _end(self, what: Experiment, task: gevent.Greenlet, passed: float) -> float:
        """Wait for the end of the scan; how long after the trouble, or after our Ctrl-C, it was over."""
        if what.scan in ENDLESS and "ctrl_c" not in what.trouble:
            task.join(1.0)
        else:
            task.join(NATURAL_S + what.limit_s)
        if not task.ready() and what.scan in ENDLESS:
            passed = time.monotonic()
            task.kill(KeyboardInterrupt, block=False)
            task.join(what.limit_s)
        late_s = time.monotonic() - passed
        if not task.ready():
            tell_where_all_are()
            task.kill(KeyboardInterrupt, timeout=20)
            return late_s + 1000
        return max(0.0, late_s - (0 if what.scan in ENDLESS else _natural_s(what, task)))

    def _scan_after(self, before: Any) -> Any:
        """The scan of the experiment; None if it has not come so far as to have a number and data."""
        scan = self._session.scans[-1]
        return None if scan is before or getattr(scan, "_scan_data", None) is None else scan

    def _images(self, before: Any, what: Experiment) -> Path | None:
        """Directory of the images of the scan under way."""
        scan = self._scan_after(before)
        filename = scan.scan_info.get("filename") if scan is not None and what.saved else None
        return Path(filename).parent / f"scan{int(scan.scan_number):04d}" if filename else None

    def _scan_faults(self, before: Any, what: Experiment, result: Result) -> Iterator[str]:
        scan = self._scan_after(before)
        for name in what.detectors if scan is not None else ():
            yield from stream_faults(scan, name)
            promise = promised(scan, name)
            result.saved += promise
            # blissdata asks an image server that was restarted after the scan, and that knows nothing of it
            read = None if what.trouble == "kill_access" else lambda i, n=name: scan.streams[f"{n}:image"][i]
            yield from file_faults(self._images(before, what), name, promise, read)

    def left(self) -> list[str]:
        """What the series has left behind: processes, publications, detectors that are not idle."""
        record = self._stack.record()
        assert record is not None
        known = set(record.pids.values()) | {p.pid for p in psutil.Process(record.pids["beacon"]).children(True)}
        found = [f"{p.pid}: {' '.join(p.cmdline())}" for p in marked(self._stack.state_dir) if p.pid not in known]
        for name, det in self._detectors.items():
            running = [uuid for uuid, status in det.publisher.statuses().items() if not status.final]
            found += [f"publication {uuid} of {name}" for uuid in running]
            found += [
                f"{device} is {state.name}" for device, state in det.device_states().items() if state.name != "IDLE"
            ]
        return found


def busy() -> float:
    """How many times longer everything takes while others use this machine too."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def give_up(what: Experiment) -> None:
    """The experiment hangs: say where, and end the process."""
    print(f"HANGS {what}", flush=True)
    tell_where_all_are()
    sys.stdout.flush()
    os._exit(3)


def tell_where_all_are() -> None:
    """Print the stack of each greenlet that runs: something hangs."""
    for one in gc.get_objects():
        # by type: what weak references stand for may be gone
        if issubclass(type(one), gevent.Greenlet) and not one.ready() and one.gr_frame is not None:
            print(one.name, "".join(traceback.format_stack(one.gr_frame)[-8:]), sep="\n")


def _natural_s(what: Experiment, task: gevent.Greenlet) -> float:
    """A scan that ended as if nothing had happened may take its own time."""
    return NATURAL_S if task.value is None else 0.0


def _outcome(call: Any) -> BaseException | None:
    try:
        call()
    except BaseException as error:  # noqa: BLE001 - ScanAbort and KeyboardInterrupt too
        return error
    return None


def table(results: list[Result]) -> str:
    """How many experiments of each kind, how soon the scan was over, how long restart and next scan took [s]."""
    lines = [f"{'trouble':<18}{'n':>4}{'done':>6}{'over':>12}{'restart':>9}{'next scan':>12}{'faults':>8}"]
    for kind in sorted({result.experiment.trouble for result in results}):
        some = [result for result in results if result.experiment.trouble == kind]
        over, after = [one.ended_s for one in some], [one.next_s for one in some]
        lines.append(
            f"{kind:<18}{len(some):>4}{sum(one.how == 'done' for one in some):>6}"
            f"{statistics.median(over):>6.2f}{max(over):>6.2f}{max(one.restart_s for one in some):>9.2f}"
            f"{statistics.median(after):>6.2f}{max(after):>6.2f}{sum(bool(one.faults) for one in some):>8}"
        )
    return "\n".join(lines)
