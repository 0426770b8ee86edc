"""Sources of a Jungfrau with a simulated wire and a simulated control, without an engine."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from lima2_bliss.contract import FrameMeta, RoundRobin
from lima2_receivers.detectors.jungfrau.messages import BeginMessage, EndMessage, ExposedMessage
from lima2_receivers.detectors.jungfrau.params import JungfrauParameters
from lima2_receivers.detectors.jungfrau.source import JungfrauSource
from lima2_receivers.detectors.jungfrau.wire import Faults, WireLayout, WireSimulator, pattern_content, read_stamps
from lima2_receivers.detectors.link import Transmitter
from lima2_receivers.detectors.rig import CollectingSink
from lima2_receivers.engine.plugin import ReceiverSetup, SourceContext


def make_parameters(modules: int = 1, frames: int = 0, **det: Any) -> JungfrauParameters:
    """Modules in one column; small socket buffers are no matter here."""
    return JungfrauParameters.model_validate(
        {
            "acq": {"nb_frames": frames, "expo_time": 1},
            "det": {"geometry": {"module_rows": modules, "module_columns": 1}, **det},
        }
    )


def look_at_stamps(pixels: np.ndarray, meta: FrameMeta) -> set[int]:
    """Frame numbers that the packets of a raw frame were stamped with."""
    return {int(stamp) for module in pixels.reshape(-1, 512, 1024) for stamp in np.unique(read_stamps(module))}


class SourceRig:
    """``receivers`` sources; the control tells them what the wire does, every 0.05 s. Errors of `run` by rank."""

    def __init__(
        self, receivers: int = 1, block: int = 1, properties: Mapping[str, str] | None = None, **options: float
    ) -> None:
        self.dispatch = RoundRobin(receivers, block)
        self.sources = [
            JungfrauSource(SourceContext(f"receiver{rank}", properties or {}), **options) for rank in range(receivers)
        ]
        self.control = Transmitter()
        self.control.connect([source.endpoints()["link"] for source in self.sources])
        self.uuid = ""
        self.sinks: list[CollectingSink] = []
        self.errors: dict[int, BaseException] = {}
        self.wire: WireSimulator | None = None
        self.exposed: int | None = None  # told instead of what the wire sent
        self._threads: list[threading.Thread] = []
        self._mute = threading.Event()
        self._speaking = threading.Lock()
        self._teller: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.silence_control()
        if self.wire is not None:
            self.wire.close()
        for source in self.sources:
            source.close()
        self.join()
        self.control.close()

    def prepare(self, parameters: JungfrauParameters, look: Any = look_at_stamps, sink: Any = CollectingSink) -> None:
        """Prepare the sources for a new acquisition."""
        self.join()
        self.uuid = str(uuid.uuid4())
        self.sinks, self.errors = [], {}
        parameters = parameters.model_copy(deep=True)
        parameters.xfer.block = self.dispatch.block
        for rank, source in enumerate(self.sources):
            info = source.prepare(ReceiverSetup(self.uuid, parameters, rank, self.dispatch))
            assert info == source.frame_info(parameters)
            self.sinks.append(sink(info, 40, look))

    def make_wire(self, parameters: JungfrauParameters, faults: Faults | None = None, number: int = 1) -> WireSimulator:
        """The detector, whose next frame has ``number``."""
        det = parameters.det
        layout = WireLayout(det.geometry.module_columns, det.geometry.module_rows, det.interfaces)
        if self.wire is not None:
            self.wire.close()
        self.wire = WireSimulator(
            layout,
            self.destinations(layout.ports),
            pattern_content(layout, stamp=True),
            faults=faults,
            next_frame_number=number,
        )
        return self.wire

    def destinations(self, ports: int) -> Sequence[Sequence[tuple[str, int]]]:
        """The detector's table of destinations."""
        found = []
        for entry in range(self.dispatch.receivers * self.dispatch.block):
            rank, _ = self.dispatch.locate(entry)
            host, _, first = self.sources[rank].endpoints()["udp"].rpartition(":")
            found.append([(host, int(first) + port) for port in range(ports)])
        return found

    def tell(self, message: Any) -> None:
        """The control says something."""
        with self._speaking:
            self.control.send(message)

    def begin(self, number: int | None, total: int = 0) -> None:
        """The control says the first number, and from then on what was exposed."""
        self.silence_control()
        self.tell(BeginMessage(uuid=self.uuid, first_number=number, total=total))
        self._mute.clear()
        self._teller = threading.Thread(target=self._say_exposed, args=(self.uuid,), daemon=True)
        self._teller.start()

    def _say_exposed(self, of: str) -> None:
        while not self._mute.wait(0.05):
            sent = 0 if self.wire is None else self.wire.frames_sent
            self.tell(ExposedMessage(uuid=of, count=sent if self.exposed is None else self.exposed))

    def silence_control(self) -> None:
        """The control says nothing more by itself."""
        self._mute.set()
        if self._teller is not None:
            self._teller.join()
            self._teller = None

    def end(self, total: int) -> None:
        """The control says the cut."""
        self.silence_control()
        self.tell(EndMessage(uuid=self.uuid, total=total))

    def start(self) -> None:
        """Run the sources."""
        self._threads = [
            threading.Thread(target=self._run, args=(rank,), name=f"run{rank}") for rank in range(len(self.sources))
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, rank: int) -> None:
        try:
            self.sources[rank].run(self.sinks[rank])
        except BaseException as error:  # noqa: BLE001
            self.errors[rank] = error

    def join(self, timeout_s: float = 15.0) -> None:
        """Wait until all sources have ended."""
        for thread in self._threads:
            thread.join(timeout_s)
            assert not thread.is_alive(), f"{thread.name} still runs"
        self._threads = []

    def acquire(
        self, parameters: JungfrauParameters, frames: int, faults: Faults | None = None, number: int = 1, **how: Any
    ) -> None:
        """A whole acquisition."""
        self.prepare(parameters, **how)
        wire = self.make_wire(parameters, faults, number)
        self.begin(number, frames)
        self.start()
        wire.start(frames, 200.0)
        wire.wait(15)
        self.end(frames)
        self.join()

    @property
    def error(self) -> BaseException:
        """The error of the only source that failed."""
        (error,) = self.errors.values()
        return error
