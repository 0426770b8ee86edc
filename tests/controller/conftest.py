"""Scripts that run in a BLISS process and say what came of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for what its tests share

#: Prints what a scan gave as one line of JSON; `failure(call)` gives an error's kind, text and time.
TOOLS = """
import gevent, h5py, json, logging, os, signal, threading, time, tango
import numpy as np
from bliss.common.scans import *

class Logged(logging.Handler):
    "Warnings that the user sees."
    lines = []
    def emit(self, record):
        self.lines.append(record.getMessage())

logging.getLogger("lima2_bliss").addHandler(Logged(logging.WARNING))

def clean(det):
    det.roi_counters.clear(); det.roi_profiles.clear(); det.reset_settings()

def streams(scan):
    return {name.removeprefix("timer:"): len(stream) for name, stream in scan.streams.items()}

def measurement(scan):
    with h5py.File(scan.scan_info["filename"]) as file:
        group = file[f"{int(scan.scan_number)}.1/measurement"]
        return {name: list(group[name].shape) for name in group if isinstance(group.get(name), h5py.Dataset)}

def failure(call):
    start = time.perf_counter()
    try:
        call()
    except BaseException as error:
        return [type(error).__name__, str(error), time.perf_counter() - start]
    return ["none", "", time.perf_counter() - start]

def exposing(det):
    "True once the detector exposes, or waits for triggers, in a scan that begins after this call."
    before = det.last_outcome
    def ready():
        return det.last_outcome is not before and det.device_states()[det.control_name].name == "RUNNING"
    return ready

def received(det, images):
    "True once the present scan has received so many images."
    before = det.last_outcome
    def ready():
        status = det.last_outcome.status
        return det.last_outcome is not before and status is not None and status.received >= images
    return ready

def wait(ready, timeout_s=20):
    with gevent.Timeout(timeout_s):
        while not ready():
            gevent.sleep(0.01)

def interrupted(scan, ready):
    "Ctrl-C as the shell does it, once `ready()`: kind of error, seconds until the scan was over, its streams and end."
    task = gevent.spawn(failure, scan)
    wait(lambda: ready() or task.ready())
    began = time.perf_counter()
    task.kill(KeyboardInterrupt, block=False)
    kind, text, _ = task.get()
    took = time.perf_counter() - began
    return [kind, took, streams(session.scans[-1]), session.scans[-1].scan_info["end_reason"]]

def say(**values):
    print("JSON " + json.dumps(values, default=str))
"""


@pytest.fixture
def bliss_values(run_bliss):
    """Runs a BLISS script and gives what its `say(...)` calls said."""

    def run(code: str, **options) -> dict:
        said: dict = {}
        for line in run_bliss(TOOLS + code, **options).splitlines():
            if line.startswith("JSON "):
                said |= json.loads(line[5:])
        return said

    return run
