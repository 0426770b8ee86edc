"""A small detector, pipeline and writer that do what a test tells them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest

from lima2_bliss.contract import (
    ROI_STATISTICS,
    FrameFlags,
    FrameInfo,
    FrameMeta,
    ImageTransform,
    ResultStream,
    RoundRobin,
)
from lima2_bliss.contract.parameters import AcquisitionParameters, LegacyParameters, Saving
from lima2_receivers.engine import MemoryManager, PipelineRun, ReceiverEngine
from lima2_receivers.engine.plugin import (
    ControlContext,
    DetectorPlugin,
    FrameOutput,
    PipelineClass,
    PipelineGraph,
    PipelineSetup,
    SourceContext,
)

INFO = FrameInfo(1, 4, 6, np.dtype("<u2"))
ROWS = ResultStream("roi_statistics", ROI_STATISTICS, 1)
WAIT_S = 10.0


class Step:
    """A node made of a function."""

    def __init__(self, function: Callable, name: str = "step") -> None:
        self.name = name
        self.process = function


def statistics(item):
    """One row with the mean of the frame, NaN for a hole."""
    value = np.nan if item.buffer is None else float(item.pixels.mean())
    item.rows["roi_statistics"] = np.array(
        [(item.meta.index, item.meta.local, value, value, value, 0, value)], ROI_STATISTICS
    )
    return item


@dataclass
class MemoryWriter:
    """Keeps (index, first pixel or None, flags) of what it was told to write."""

    saving: Saving = field(default_factory=Saving)
    fail_at: int | None = None
    gate: threading.Event | None = None
    written: list = field(default_factory=list)
    closed: int = 0

    @property
    def saved(self) -> int:
        return len(self.written)

    @property
    def complete(self) -> tuple[int, int]:
        per_file = self.saving.nb_frames_per_file
        frames = self.saved if self.closed else self.saved // per_file * per_file
        return -(-frames // per_file), frames

    def write(self, pixels, meta) -> None:
        if self.gate is not None:
            assert self.gate.wait(WAIT_S)
        if self.fail_at is not None and self.saved == self.fail_at:
            raise OSError(28, "No space left on device")
        self.written.append((meta.index, None if pixels is None else int(pixels[0, 0, 0]), FrameFlags(meta.flags)))

    def close(self) -> None:
        self.closed += 1


class FakeSource:
    """Runs ``script(sink, source)``; the default delivers all frames of this receiver, pixels = global index."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self.setup = None
        self.closed = False
        self.script = deliver_all
        self.prepare_error: Exception | None = None

    def endpoints(self):
        return {"data": "inproc://fake"}

    def conditioning(self, parameters):
        return None

    def frame_info(self, parameters):
        return INFO

    def prepare(self, setup):
        if self.prepare_error is not None:
            raise self.prepare_error
        self.stopped.clear()
        self.setup = setup
        return INFO

    def run(self, sink):
        self.script(sink, self)

    def stop(self):
        self.stopped.set()

    def close(self):
        self.closed = True

    def meta(self, local: int, flags: FrameFlags = FrameFlags.GOOD) -> FrameMeta:
        return FrameMeta(self.setup.dispatch.global_index(self.setup.rank, local), local, time.time_ns(), flags)

    def give(self, sink, local: int) -> bool:
        """Deliver frame ``local`` as soon as there is a buffer; False when stopped before."""
        while (buffer := sink.reserve(0.05)) is None:
            if self.stopped.is_set():
                return False
        meta = self.meta(local)
        buffer.data[...] = meta.index
        sink.deliver(buffer, meta)
        return True


def deliver_all(sink, source) -> None:
    total = source.setup.parameters.acq.nb_frames
    mine = source.setup.dispatch.count(source.setup.rank, total)
    for local in count() if not total else range(mine):
        if source.stopped.is_set() or not source.give(sink, local):
            return


class FakeControl:
    """Counts what it was told."""

    def __init__(self, context: ControlContext) -> None:
        self.context = context
        self.calls: list[str] = []
        self.errors: dict[str, Exception] = {}
        self.nb_frames_acquired = 0
        self.finished = False

    def info(self):
        return {"plugin": "Fake", "model": "none", "sn": "1"}

    def status(self):
        return {"state": "idle"}

    def capabilities(self):
        return {
            "trigger_modes": ["internal", "software"],
            "expo_time_range": [1_000, 10_000_000_000],
            "latency_time_range": [0, 1_000_000_000],
            "nb_frames_per_trigger_range": [1, 1000],
        }

    def commands(self):
        return {"echo": lambda value: value, "bad": lambda value: 1 // 0}

    def prepare(self, uuid, parameters):
        self._call("prepare")

    def start(self):
        self._call("start")

    def trigger(self):
        self._call("trigger")

    def stop(self):
        self._call("stop")

    def reset(self):
        self._call("reset")

    def close(self):
        self._call("close")

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.errors:
            raise self.errors[name]


def graph(setup: PipelineSetup, **changes) -> PipelineGraph:
    """No-copy graph with one statistics row per frame, as the processing parameters say."""
    processing = setup.processing
    values = {
        "parallel": (),
        "ordered": (Step(statistics, "statistics"),),
        "results": (ROWS,),
        "outputs": {
            "input_frame": FrameOutput(setup.input, processing.buffers.nb_input_frames_buffer),
            "frame": FrameOutput(setup.input, processing.buffers.nb_frames_buffer, processing.saving),
        },
        "transform": ImageTransform((setup.input.height, setup.input.width)),
        "accumulation": processing.accumulation.depth,
        "threads": processing.thread.nb_threads,
        "fifo": processing.fifo.nb_fifo_frames,
    }
    return PipelineGraph(**{**values, **changes})


@pytest.fixture
def doubles() -> SimpleNamespace:
    """The classes and functions of this file."""
    return SimpleNamespace(
        Step=Step, MemoryWriter=MemoryWriter, statistics=statistics, graph=graph, INFO=INFO, WAIT_S=WAIT_S
    )


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """Every test ends with the threads it began with."""
    before = set(threading.enumerate())
    yield
    left = [thread for thread in threading.enumerate() if thread not in before]
    for thread in left:
        thread.join(2.0)
    assert [thread.name for thread in left if thread.is_alive()] == []


class RunBench:
    """One PipelineRun that the test feeds by hand."""

    def __init__(self, nb_frames=0, writers=None, processing=None, make_graph=graph, rank=0, receivers=1) -> None:
        self.memory = MemoryManager(1 << 30)
        account = self.memory.account("uuid-of-the-run")
        parameters = LegacyParameters.model_validate(processing or {})
        setup = PipelineSetup(
            "uuid-of-the-run",
            AcquisitionParameters.model_validate({"acq": {"nb_frames": nb_frames}}),
            parameters,
            INFO,
            rank,
            RoundRobin(receivers, parameters.accumulation.depth),
            account.allocate,
        )
        self.run = PipelineRun("fake_1", "LimaProcessingLegacy", setup, make_graph(setup), account, writers)
        self.setup = setup
        self.local = 0

    def meta(self, flags=FrameFlags.GOOD) -> FrameMeta:
        local, self.local = self.local, self.local + 1
        return FrameMeta(self.setup.dispatch.global_index(self.setup.rank, local), local, time.time_ns(), flags)

    def give(self, frames: int = 1) -> None:
        for _ in range(frames):
            buffer = self.run.reserve(WAIT_S)
            assert buffer is not None
            meta = self.meta()
            buffer.data[...] = meta.index
            self.run.deliver(buffer, meta)

    def lose(self, flags=FrameFlags.LOST) -> None:
        self.run.lost(self.meta(flags))

    def end(self, total_local=None):
        self.run.close_input(total_local)
        assert self.run.finished.wait(WAIT_S)
        return self.run.status()


@pytest.fixture
def make_run() -> Iterator[Callable[..., RunBench]]:
    """Makes runs that are started, and ended and erased after the test."""
    benches = []

    def make(start: bool = True, **arguments) -> RunBench:
        bench = RunBench(**arguments)
        benches.append(bench)
        if start:
            bench.run.start()
        return bench

    yield make
    for bench in benches:
        bench.run.abort()
        assert bench.run.finished.wait(WAIT_S)
        bench.run.erase()


class ReceiverBench:
    """A ReceiverEngine on the fake detector, with the legacy parameters."""

    def __init__(self, make_graph=graph, memory_budget_bytes=1 << 30, **arguments) -> None:
        self.source = FakeSource()
        self.writers: list[MemoryWriter] = []
        self.writer_settings: dict = {}
        self.uuids = count(1)
        self.states: list = []
        plugin = DetectorPlugin("fake", "1.0", AcquisitionParameters, FakeControl, lambda context: self.source)
        pipeline = PipelineClass(
            "legacy",
            "LimaProcessingLegacy",
            "1.0",
            LegacyParameters,
            lambda setup: None,
            lambda setup: make_graph(setup),
        )
        self.engine = ReceiverEngine(
            "fake_1",
            plugin,
            {"LimaProcessingLegacy": pipeline},
            self.make_writer,
            arguments.pop("rank", 0),
            arguments.pop("nb_receivers", 1),
            SourceContext("fake_1", {}),
            memory_budget_bytes,
            **arguments,
        )
        self.engine.subscribe_state(self.states.append)

    def make_writer(self, saving, info, rank, metadata) -> MemoryWriter:
        self.writers.append(MemoryWriter(saving, **self.writer_settings))
        return self.writers[-1]

    def prepare(self, nb_frames: int = 10, **processing) -> PipelineRun:
        self.engine.check_acquisition(json.dumps({"acq": {"nb_frames": nb_frames}}))
        self.engine.check_processing(json.dumps(processing))
        uuid = f"0000000{next(self.uuids)}-uuid"
        self.engine.prepare(uuid)
        return self.engine.pipeline(uuid)

    def acquire(self, nb_frames: int = 10, **processing) -> PipelineRun:
        """A whole acquisition."""
        run = self.prepare(nb_frames, **processing)
        self.engine.start()
        assert run.finished.wait(WAIT_S)
        return run

    def wait_state(self, *states) -> None:
        reached = threading.Event()
        unsubscribe = self.engine.subscribe_state(lambda state: reached.set() if state in states else None)
        if self.engine.state not in states:
            assert reached.wait(WAIT_S), f"{self.engine.state!r} instead of {states}"
        unsubscribe()


@pytest.fixture
def make_receiver() -> Iterator[Callable[..., ReceiverBench]]:
    """Makes receivers that are closed after the test."""
    benches = []

    def make(**arguments) -> ReceiverBench:
        benches.append(ReceiverBench(**arguments))
        return benches[-1]

    yield make
    for bench in benches:
        bench.engine.close()


@pytest.fixture
def fake_control() -> SimpleNamespace:
    """The plugin of the fake detector, and the controls that it made."""
    made: list[FakeControl] = []

    def make_control(context: ControlContext) -> FakeControl:
        made.append(FakeControl(context))
        return made[-1]

    plugin = DetectorPlugin("fake", "1.0", AcquisitionParameters, make_control, lambda context: FakeSource())
    return SimpleNamespace(plugin=plugin, made=made, context=ControlContext("fake", {}, list))
