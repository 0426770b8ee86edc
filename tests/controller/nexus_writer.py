"""The external writer process of the embedded stack's sessions."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tango

from lima2_bliss.stack import Stack

DEVICES = ("id00/bliss_nxwriter/tests", "id00/bliss_nxwriter/policy")


@contextmanager
def nexus_writer(stack: Stack, log: Path, timeout_s: float = 60.0) -> Iterator[subprocess.Popen]:
    """Runs NexusWriterService for sessions `tests` and `policy`, ready when this is entered, gone after it."""
    command = [str(Path(sys.executable).parent / "NexusWriterService"), "tests", "--log=info"]
    environment = stack.environment()
    with log.open("w") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        deadline = time.monotonic() + timeout_s
        while not all(_is_on(device, environment["TANGO_HOST"]) for device in DEVICES):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, 9)
            process.wait(10)


def _is_on(device: str, tango_host: str) -> bool:
    try:
        return tango.DeviceProxy(f"tango://{tango_host}/{device}").state() == tango.DevState.ON
    except tango.DevFailed:
        return False
