"""Scans and detectors that pages look at, without Redis."""

from __future__ import annotations

import importlib.util
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import httpx
import numpy as np
import pytest
import websockets.sync.client
from blissdata.redis_engine.store import DataStore

from lima2_bliss.contract import NotAvailableError
from lima2_bliss.contract.records import SPOT
from lima2_bliss.monitor.model import DetectorView, ScanSummary
from lima2_bliss.monitor.pictures import Picture, cut
from lima2_bliss.monitor.series import Series
from lima2_bliss.monitor.serving import Serving
from lima2_bliss.publishing.frame_places import FRAMES, FramePlaces

sys.path.insert(0, str(Path(__file__).parent))  # for what its tests share


def _publishing() -> ModuleType:
    """Redis servers, scans with real streams, receivers filled by hand: those of the tests of publishing."""
    place = Path(__file__).parents[1] / "publishing"
    sys.path.insert(0, str(place))
    spec = importlib.util.spec_from_file_location("publishing_fixtures", place / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


_real = _publishing()
redis_server, make_redis, make_setup, until, smx = (
    getattr(_real, name) for name in ("redis_server", "make_redis", "make_setup", "until", "smx")
)


class KnownScans:
    """Scans that a test makes."""

    def __init__(self) -> None:
        self.revision = 0
        self.trouble = ""
        self.known: list[ScanSummary] = []

    def add(self, key, **other):
        made = ScanSummary(key, "demo", len(self.known) + 1, "take", "", "running", 1.0, None, 0, "", ("det", "second"))
        self.known.insert(0, replace(made, **other))
        self.revision += 1
        return self.known[0]

    def sessions(self):
        return sorted({scan.session for scan in self.known})

    def summaries(self, session=None):
        return [scan for scan in self.known if session in (None, scan.session)]

    def find(self, key):
        for scan in self.known:
            if scan.key == key:
                return scan
        raise NotAvailableError(f"scan {key} is not in Redis")

    def newest(self, session=None):
        found = self.summaries(session)
        return next((scan for scan in found if scan.state == "running"), found[0] if found else None)


class SmallDetector:
    """A detector whose frame i is 4 x 6 pixels of i."""

    def __init__(self, scan, detector):
        self.view = DetectorView(scan, detector, series={"hit_rate": Series()})
        self.closed = threading.Event()
        self.fetched = 0

    def publish(self, frames):
        """So many frames in all."""
        self.view.series["hit_rate"].add(self.view.frames, np.ones(frames - self.view.frames))
        self.view.frames = frames
        self.view.revision += 1

    def picture(self, wanted):
        index = wanted.index if wanted.mode == "frame" else self.view.frames - 1
        if index < 0:
            return None
        if index >= self.view.frames:
            raise NotAvailableError(f"frame {index} is not there; the scan has {self.view.frames}")
        self.fetched += 1
        return Picture(index, np.full((4, 6), index, np.uint16), (4, 6), "memory")

    def region(self, wanted):
        data, binning, origin = cut(np.arange(24).reshape(4, 6), wanted.y0, wanted.x0, wanted.y1, wanted.x1, 64)
        return Picture(wanted.index, data, (4, 6), "memory", binning, origin)

    def spots(self, index):
        rows = np.zeros(2, SPOT)
        rows["x"] = [1.5, 2.5]
        return rows

    def close(self):
        self.closed.set()


@pytest.fixture
def scans():
    return KnownScans()


@pytest.fixture
def detectors():
    """Every detector that was opened, by (scan, name)."""
    return {}


@pytest.fixture
def watch(detectors):
    """Opens detectors."""

    def opened(scan, detector):
        detectors[scan.key, detector] = made = SmallDetector(scan, detector)
        return made

    return opened


class Browser:
    """Asks the monitor at an address."""

    def __init__(self, address):
        self.address = address

    def get(self, path, method="GET", **options):
        return httpx.request(method, self.address + path, timeout=20, trust_env=False, **options)

    def connect(self, **options):
        address = self.address.replace("http", "ws") + "/ws"
        return websockets.sync.client.connect(address, open_timeout=20, max_size=None, proxy=None, **options)


@pytest.fixture
def serve():
    """Serves a hub in a thread: ``with serve(hub, token) as browser``."""

    @contextmanager
    def serving(hub, token=None):
        with Serving(hub, port=0, token=token) as served:
            yield Browser(served.address)

    return serving


@pytest.fixture
def opener():
    """``opener(setup)``: what opens its scan as another process would, with the places of its frames."""

    def of(setup, **limits):
        url = setup.url + "".join(f"?{name}={value}" for name, value in limits.items())
        addresses = setup.job.receivers
        places = FramePlaces(
            uuid=setup.job.uuid,
            endpoints=[address.endpoint for address in addresses],
            receivers=[address.name for address in addresses],
        )

        def opened():
            scan = DataStore(url).load_scan(setup.scan.key)
            if "det:image" in scan.streams:
                scan.streams["det:image"].info[FRAMES] = places.model_dump(mode="json")
            return scan

        return opened

    return of
