"""Raw frames of known photons, the calibration that gives them back, and a source of such frames for the engine."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from lima2_bliss.contract import FrameFlags, FrameMeta, RoundRobin
from lima2_bliss.contract.parameters import parse
from lima2_receivers.detectors.jungfrau.calibration import Calibration, all_stages
from lima2_receivers.detectors.jungfrau.conditioning import make_conditioning
from lima2_receivers.detectors.jungfrau.packets import HEADER, packets_per_port
from lima2_receivers.detectors.jungfrau.params import JungfrauParameters
from lima2_receivers.detectors.jungfrau.raw_frames import raw_info
from lima2_receivers.detectors.jungfrau.wire.pixels import Sensor, encode, typical_sensor
from lima2_receivers.engine import PipelineRun, ReceiverEngine
from lima2_receivers.engine.buffers import BufferPool
from lima2_receivers.engine.plugin import (
    RAW_FRAME,
    Conditioning,
    ConditioningNodes,
    DetectorPlugin,
    FrameItem,
    ReceiverSetup,
    SourceContext,
)

PHOTON_KEV = 12.4
GRIDS = {1: (1, 1), 2: (2, 1), 8: (4, 2)}
WAIT_S = 20.0


@dataclass
class Modules:
    """``number`` modules with maps of their own, and frames of them."""

    number: int
    high_gain: bool = False
    sensors: list[Sensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sensors = [typical_sensor(seed=module, high_gain=self.high_gain) for module in range(self.number)]

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(700 + module for module in range(self.number))

    def photons(self, seed: int = 5) -> np.ndarray:
        """Photons as read (modules, 512, 1024): a third of the rows for each of G0, G1, G2."""
        random = np.random.default_rng(seed)
        photons = np.empty((self.number, 512, 1024))
        for rows, (low, high) in (
            (slice(0, 171), (0, 20)),
            (slice(171, 342), (50, 600)),
            (slice(342, 512), (1000, 9000)),
        ):
            photons[:, rows] = random.integers(low, high, photons[:, rows].shape)
        return photons

    def raw(self, photons: np.ndarray) -> np.ndarray:
        """The frame (modules, 512, 1024) uint16 that shows them."""
        return np.stack([encode(of, sensor, PHOTON_KEV) for of, sensor in zip(photons, self.sensors, strict=True)])

    def calibration(self, **changes: Any) -> Calibration:
        """The calibration of these modules."""
        gains, pedestals = (
            np.stack([np.broadcast_to(getattr(sensor, name), (3, 512, 1024)) for sensor in self.sensors], axis=1)
            for name in ("gains", "pedestals")
        )
        noise = np.full_like(gains, 8.0)
        place = 3 if self.high_gain else 0
        maps = {}
        for name, values in (("gains", gains), ("pedestals", pedestals), ("noise", noise)):
            maps[name] = all_stages(values.astype("f4"))
            if self.high_gain:
                maps[name][place:] = maps[name][:3]
        if self.high_gain:
            maps["gains"][0] = Modules(self.number).calibration().gains[0]
        mask = np.zeros((self.number, 512, 1024), "u4")
        made = {**maps, "mask": mask, "module_ids": self.ids, "taken_at": datetime.now(UTC), "serial": "J1", **changes}
        return Calibration(**made)

    def parameters(self, calibration: str | Path = "", output: str = "float32", acq: Any = None, **det: Any) -> Any:
        """Parameters for these modules."""
        rows, columns = GRIDS[self.number]
        geometry = {"module_rows": rows, "module_columns": columns, **det.pop("geometry", {})}
        correction = {"output": output, "calibration": str(calibration), "backend": "cpu", **det.pop("correction", {})}
        content = {
            "acq": {"nb_frames": 10, "expo_time": 10, **(acq or {})},
            "det": {"geometry": geometry, "correction": correction, "high_gain": self.high_gain, **det},
        }
        return parse(JungfrauParameters, content, "parameters")

    def extras(self, daq: int | list[int] = 0, interfaces: int = 1, missing: tuple[int, ...] = ()) -> dict[str, Any]:
        """Extras of a frame; ports in ``missing`` gave nothing."""
        ports = self.number * interfaces
        headers = np.zeros(ports, HEADER)
        headers["daq_info"] = daq
        headers["module_id"] = np.repeat(self.ids, interfaces)
        packets = np.full(ports, packets_per_port(interfaces), "u2")
        mask = np.full((ports, packets_per_port(interfaces) // 8), 255, "u1")
        for port in missing:
            headers[port], packets[port], mask[port] = np.zeros((), HEADER), 0, 0
        return {"packet_headers": headers, "packet_mask": mask, "packets": packets}


class Bench:
    """The conditioning's nodes of one acquisition, fed by hand as the engine does."""

    def __init__(self, modules: Modules, parameters: JungfrauParameters, rank: int = 0, receivers: int = 1) -> None:
        self.modules = modules
        self.conditioning: Conditioning = make_conditioning(parameters)
        self.pool = BufferPool(self.conditioning.image, 4)
        self.ring = BufferPool(raw_info(modules.number, 1), 4)
        self.dispatch = RoundRobin(receivers)
        setup = ReceiverSetup("uuid", parameters, rank, self.dispatch)
        self.nodes: ConditioningNodes = self.conditioning.build(self.pool, setup)
        self.rank = rank
        self.local = 0

    def process(
        self,
        stack: np.ndarray | None,
        daq: int | list[int] = 0,
        flags: FrameFlags = FrameFlags.GOOD,
        hit: bool | None = None,
        extras: bool = True,
    ) -> tuple[np.ndarray | None, FrameMeta]:
        """The image of a raw frame (a copy), None for a hole, and what is then known of the frame."""
        local, self.local = self.local, self.local + 1
        index = self.dispatch.global_index(self.rank, local)
        known = self.modules.extras(daq) if extras else None
        item = FrameItem(FrameMeta(index, local, flags=flags, extras=known), None)
        raw = None
        if stack is not None:
            item.buffer = self.ring.take()
            item.buffer.data[...] = stack.reshape(item.buffer.data.shape)
            raw = item.buffer.retain()
        item.more[RAW_FRAME] = (raw, FrameMeta(index, local, flags=flags, extras=known))
        try:
            item = self.nodes.image.process(item)  # type: ignore[assignment]
            item.meta.hit = hit
            for node in self.nodes.ordered:
                assert node.process(item) is item
            image = None if item.buffer is None else item.buffer.data[0].copy()
        finally:
            for buffer in (item.buffer, raw):
                if buffer is not None:
                    buffer.release()
        assert self.pool.free == self.pool.total
        assert self.ring.free == self.ring.total
        return image, item.meta

    def end(self) -> None:
        """The last frame was seen, and the acquisition is erased."""
        self.nodes.last()
        self.nodes.close()


class RawSource:
    """Gives ``frames`` (raw stacks, None: lost) in turn, frame n of the receiver being ``frames[n % len]``."""

    def __init__(self, modules: Modules, frames: list[np.ndarray | None], flags: dict[int, FrameFlags]) -> None:
        self.modules, self.frames, self.flags = modules, frames, flags
        self.stopped = threading.Event()
        self.setup: ReceiverSetup | None = None

    def endpoints(self) -> dict[str, str]:
        return {}

    def frame_info(self, parameters: Any) -> Any:
        return raw_info(self.modules.number, 1)

    def conditioning(self, parameters: Any) -> Conditioning:
        return make_conditioning(parameters)

    def prepare(self, setup: ReceiverSetup) -> Any:
        self.setup = setup
        return self.frame_info(setup.parameters)

    def run(self, sink: Any) -> None:
        assert self.setup is not None
        total = self.setup.dispatch.count(self.setup.rank, self.setup.parameters.acq.nb_frames)
        for local in range(total):
            index = self.setup.dispatch.global_index(self.setup.rank, local)
            stack = self.frames[local % len(self.frames)]
            meta = FrameMeta(index, local, time.time_ns(), self.flags.get(local, FrameFlags.GOOD))
            if stack is None:
                sink.lost(meta)
                continue
            meta.extras = self.modules.extras()
            while (buffer := sink.reserve(0.05)) is None:
                if self.stopped.is_set():
                    return
            buffer.data[...] = stack.reshape(buffer.data.shape)
            buffer.data[0, 0, 0] = index  # tells the raw frames apart
            sink.deliver(buffer, meta)

    def stop(self) -> None:
        self.stopped.set()

    def close(self) -> None:
        pass


@dataclass
class Kept:
    """A writer that keeps what it is given: (index, first pixel or None, flags, hit)."""

    info: Any
    metadata: Any
    written: list[tuple[int, Any, FrameFlags, bool | None]] = field(default_factory=list)

    @property
    def saved(self) -> int:
        return len(self.written)

    @property
    def complete(self) -> tuple[int, int]:
        return 0, 0

    def write(self, pixels: Any, meta: FrameMeta) -> None:
        first = pixels[0, 0, 0] if isinstance(pixels, np.ndarray) else pixels
        self.written.append((meta.index, first, FrameFlags(meta.flags), meta.hit))

    def close(self) -> None:
        pass


class Receiver:
    """A receiver engine with a `RawSource` and the given pipeline."""

    def __init__(self, pipeline: Any, modules: Modules, frames: list[np.ndarray | None], **flags: Any) -> None:
        self.writers: dict[str, Kept] = {}
        plugin = DetectorPlugin(
            "Jungfrau",
            "1",
            JungfrauParameters,
            lambda context: None,  # type: ignore[arg-type,return-value]
            lambda context: RawSource(modules, frames, flags.get("flags", {})),
        )
        self.engine = ReceiverEngine(
            "jf_1",
            plugin,
            {pipeline.tango_class: pipeline},
            self._writer,
            0,
            1,
            SourceContext("jf_1", {}),
            1 << 30,
        )
        self._numbers = count(1)

    def _writer(self, saving: Any, info: Any, rank: int, metadata: Any) -> Kept:
        return self.writers.setdefault(saving.filename_prefix, Kept(info, metadata))

    def acquire(self, parameters: JungfrauParameters, **processing: Any) -> PipelineRun:
        """A whole acquisition."""
        self.engine.check_acquisition(parameters.model_dump_json())
        self.engine.check_processing(json.dumps(processing))
        uuid = f"{next(self._numbers):08d}"
        self.engine.prepare(uuid)
        self.engine.start()
        run = self.engine.pipeline(uuid)
        assert run.finished.wait(WAIT_S), run.status()
        return run


def receivers() -> Iterator[Callable[..., Receiver]]:
    """Makes receivers that are closed afterwards; the body of a fixture."""
    made: list[Receiver] = []

    def make(*arguments: Any, **more: Any) -> Receiver:
        made.append(Receiver(*arguments, **more))
        return made[-1]

    yield make
    for receiver in made:
        receiver.engine.close()
