"""What the benchmarks share: a private stack, the host's copy bandwidth, and the JSON line at the end."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from lima2_bliss.stack import Stack


def arguments(description: str, **defaults: int | float) -> argparse.Namespace:
    """Command line: ``--json`` and one option per default."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="print one JSON line last")
    for name, default in defaults.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    return parser.parse_args()


def report(options: argparse.Namespace, title: str, figures: dict[str, Any]) -> None:
    """Print the figures as a table and, with ``--json``, as one JSON line."""
    rounded = {key: round(value, 4) if isinstance(value, float) else value for key, value in figures.items()}
    print(f"{title}  [{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}]")
    for key, value in rounded.items():
        print(f"  {key:28s} {value}")
    if options.json:
        print(json.dumps(rounded), flush=True)


@contextmanager
def running_stack(*detectors: str) -> Iterator[Stack]:
    """The shipped configuration in a place of its own, with these detectors; default: `simulator`, two receivers."""
    with tempfile.TemporaryDirectory(prefix="lima2-bench-") as place:
        stack = Stack(Path(place) / "state")
        try:
            stack.up(detectors=detectors) if detectors else stack.up()
            os.environ["TANGO_HOST"] = stack.environment()["TANGO_HOST"]
            yield stack
        finally:
            stack.down()


def run_session(stack: Stack, code: str, timeout_s: float = 600.0) -> dict[str, Any]:
    """Run BLISS code in session `demo`; the code calls ``answer(dict)`` once with what it measured.

    It has ``own_pace(det, frames, expo_time, name, latency_time)``: a scan at the detector's own pace; scan, seconds.
    """
    prelude = f"""\
import json, sys, time, warnings
from bliss.common import axis  # shows every deprecation once
warnings.filterwarnings("ignore", category=DeprecationWarning)
from bliss.config import static
session = static.get_config().get("demo")
session.setup()
globals().update({{k: v for k, v in session.env_dict.items() if not k.startswith("__")}})
from bliss.shell.standard import *
SCAN_SAVING = session.scan_saving
SCAN_SAVING.base_path = {str(stack.data_dir)!r}
def answer(figures):
    print("ANSWER " + json.dumps(figures), flush=True)
def own_pace(det, frames, expo_time, name, latency_time=None):
    from bliss.scanning.chain import AcquisitionChain
    from bliss.scanning.scan import Scan
    params = {{"acq_expo_time": expo_time, "acq_nb_frames": frames, "acq_trigger_mode": "internal"}}
    if latency_time is not None:
        params["latency_time"] = latency_time
    master = det.get_acquisition_object(params, None, {{}})
    for counter in [*det.counter_groups.default, *det.counter_groups.status]:
        master.add_counter(counter)
    chain = AcquisitionChain()
    chain.add(master)
    scan = Scan(chain, name=name)
    begin = time.time()
    scan.run()
    return scan, time.time() - begin
"""
    script = stack.state_dir / "bench_session.py"
    script.write_text(prelude + code)
    done = subprocess.run(
        [sys.executable, str(script)], env=stack.environment(), capture_output=True, text=True, timeout=timeout_s
    )
    for line in done.stdout.splitlines():
        if line.startswith("ANSWER "):
            return json.loads(line[7:])
    raise SystemExit(f"the BLISS session gave no answer:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")


def copy_gb_per_s(nbytes: int = 64 << 20, seconds: float = 0.5) -> float:
    """Bandwidth of a plain copy by one core, buffers beyond the cache [GB/s of bytes copied]."""
    source, target = np.ones(nbytes, "u1"), np.empty(nbytes, "u1")
    np.copyto(target, source)
    begin, copied = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        np.copyto(target, source)
        copied += nbytes
    return copied / (time.perf_counter() - begin) / 1e9


def consumer_code(scan_name: str) -> str:
    """Start of a consumer process: says "ready", waits for the scan of that name, and defines ``follow(stream)``."""
    return f"""\
import json, time, warnings
warnings.simplefilter("ignore")
from blissdata.beacon.data import BeaconData
from blissdata.redis_engine.store import DataStore
from blissdata.redis_engine.exceptions import EndOfStream
from blissdata.redis_engine.scan import ScanState

store = DataStore(BeaconData().get_redis_data_db())
since = None
print("ready", flush=True)
while True:
    since, key = store.get_next_scan(since=since, block=True, timeout=60)
    scan = store.load_scan(key)
    if scan.info["name"].endswith({scan_name!r}):
        break
while scan.state < ScanState.STARTED:
    scan.update()

def follow(name):
    cursor = scan.streams[name].cursor()
    try:
        while True:
            _index, batch = cursor.read()
            yield time.time(), batch
    except EndOfStream:
        return
"""


def receiver_rss_mb(stack: Stack) -> dict[str, float]:
    """Resident memory of each receiver process [MB]."""
    return {row.name: row.rss_mb for row in stack.status() if row.name.startswith("lima2_receiver/")}


def percentiles_ms(seconds: np.ndarray) -> dict[str, float]:
    """``p50_ms`` and ``p99_ms`` of latencies."""
    return {"p50_ms": float(np.percentile(seconds, 50) * 1e3), "p99_ms": float(np.percentile(seconds, 99) * 1e3)}


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used so far."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)
