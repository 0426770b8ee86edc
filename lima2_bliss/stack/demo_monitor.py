"""The online monitor beside the demo: its link while the scans run, and the last hit as it showed it."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import ProxyHandler, build_opener

from lima2_bliss.contract import NotAvailableError
from lima2_bliss.stack.embedded import script

_WAIT_S = 30.0
_opener = build_opener(ProxyHandler({}))


@contextmanager
def monitor(environment: Mapping[str, str], log: Path) -> Iterator[str]:
    """`lima2-monitor` at a free port; gives its address. `NotAvailableError` when it does not start."""
    with log.open("w") as errors:
        command = [script("lima2-monitor"), "--port", "0"]
        process = subprocess.Popen(command, env=dict(environment), stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        assert process.stdout is not None
        said, _, address = process.stdout.readline().strip().partition(" ")
        if said != "monitor:":
            raise NotAvailableError(f"the online monitor did not start; see {log}")
        yield address.rstrip("/")
    finally:
        process.terminate()
        process.wait(15)


def _fetch(address: str) -> bytes:
    """What is at an address; what is not there yet is waited for."""
    until = time.monotonic() + _WAIT_S
    while True:
        try:
            with _opener.open(address, timeout=_WAIT_S) as answer:
                content: bytes = answer.read()
                return content
        except HTTPError as error:
            if error.code != 404 or time.monotonic() > until:
                told = error.read().decode(errors="replace").strip()
                raise NotAvailableError(f"the online monitor does not give {address}: {told}") from error
            time.sleep(0.1)


def keep_last_hit(address: str, directory: Path) -> tuple[int, Path]:
    """(frame, file): PNG of the newest hit of the last scan with its spots, as the monitor has it."""
    scans = json.loads(_fetch(f"{address}/api/scans"))
    if not scans:
        raise NotAvailableError("the online monitor has seen no scan")
    place = f"{quote(scans[0]['key'], safe='')}/{quote(scans[0]['detectors'][0])}"
    # of nb_peaks only hits have a point; there are few enough for a point each
    *_, last = _fetch(f"{address}/api/csv/{place}/nb_peaks").decode().splitlines()
    frame = int(float(last.partition(",")[0]))
    directory.mkdir(parents=True, exist_ok=True)
    kept = directory / "demo_hit.png"
    kept.write_bytes(_fetch(f"{address}/api/frame/{place}/{frame}.png?scale=log"))
    return frame, kept
