"""A simulated detector `sim` with two receivers on a Tango database of our own, and the client's object for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "servers"))
from tango_bench import TangoBench

from lima2_bliss.client import Detector

CONTROL = "id00/limacontrol/sim"
RECEIVERS = ["id00/limareceiver/sim1", "id00/limareceiver/sim2"]


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
    """A running detector for a test that kills servers."""
    bench = TangoBench(tmp_path / "tango", {"sim": 2})
    try:
        bench.start_detector("sim", 2)
        yield bench
    finally:
        bench.close()


@pytest.fixture
def detector(bench: TangoBench) -> Iterator[Detector]:
    detector = Detector(CONTROL, RECEIVERS, proxy=bench.proxy)
    yield detector
    detector.reset()
    detector.close()


@pytest.fixture
def parameters(detector: Detector) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters of a small, fast acquisition of 20 different frames."""
    acquisition, processing = detector.default_parameters()
    acquisition["acq"] |= {"nb_frames": 20, "expo_time": 1000, "latency_time": 0}
    acquisition["det"] |= {"size": {"x": 96, "y": 64}, "nb_prefetch_frames": 5, "stamp_frame_number": True}
    processing["buffers"] |= {"nb_frames_buffer": 1000, "nb_input_frames_buffer": 1000}
    return acquisition, processing
