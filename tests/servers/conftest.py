"""A Tango database of our own, and a simulated detector `sim` with two receivers on it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tango

sys.path.insert(0, str(Path(__file__).parent))
from tango_bench import TangoBench


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TangoBench]:
    bench = TangoBench(tmp_path_factory.mktemp("tango"), {"sim": 2})
    try:
        bench.start_detector("sim", 2)
        yield bench
    finally:
        bench.close()


@pytest.fixture
def own_bench(tmp_path: Path) -> Iterator[TangoBench]:
    """A database for a test that kills servers; nothing runs on it yet."""
    bench = TangoBench(tmp_path / "tango", {"sim": 2})
    try:
        yield bench
    finally:
        bench.close()


@pytest.fixture
def device(bench: TangoBench) -> Callable[[str], tango.DeviceProxy]:
    """A proxy by short name: control, receiver 1, receiver 2, or a full name."""
    known = {
        "control": "id00/limacontrol/sim",
        "receiver 1": "id00/limareceiver/sim1",
        "receiver 2": "id00/limareceiver/sim2",
    }
    return lambda name: tango.DeviceProxy(f"tango://{bench.host}/{known.get(name, name)}")
