"""Source of the Jungfrau: from the UDP ports of a receiver to raw frames in its ring."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import Any

from lima2_bliss.contract import FrameFlags, FrameInfo, FrameMeta, RoundRobin, StateError
from lima2_bliss.contract.parameters import AcquisitionParameters
from lima2_receivers.detectors.jungfrau.conditioning import make_conditioning
from lima2_receivers.detectors.jungfrau.exposures import Exposures
from lima2_receivers.detectors.jungfrau.intake import (
    Arrived,
    Intake,
    IntakeConfig,
    ListenerSettings,
    module_ports,
    warm_up_intake,
)
from lima2_receivers.detectors.jungfrau.messages import ENDPOINT, UDP_ENDPOINT, decode
from lima2_receivers.detectors.jungfrau.params import (
    JungfrauParameters,
    JungfrauSettings,
    check,
    check_block,
    check_receivers,
)
from lima2_receivers.detectors.jungfrau.ports import UdpPorts
from lima2_receivers.detectors.jungfrau.raw_frames import extras_of, raw_info
from lima2_receivers.detectors.jungfrau.watch import Patience, Watch
from lima2_receivers.detectors.link import Listener
from lima2_receivers.engine.buffers import FrameBuffer
from lima2_receivers.engine.plugin import Conditioning, ReceiverSetup, Sink, SourceContext

log = logging.getLogger(__name__)

#: Shortest wait for what is on its way when the control says the end [s].
MIN_GRACE_S = 0.1


@dataclass(frozen=True)
class _Acquisition:
    setup: ReceiverSetup
    det: JungfrauSettings
    intake: Intake
    exposures: Exposures


class JungfrauSource:
    """One receiver of a Jungfrau. Its ports are those of `UdpPorts`; they are open from `prepare` to the end of `run`.

    ``control_timeout_s``: silence of the control that ends an acquisition. ``stop_grace_s``: how long after `stop` the
    control may say where the cut is, and frames up to it may come. ``note_period_s``: how often counts are noted.
    """

    def __init__(
        self,
        context: SourceContext,
        control_timeout_s: float = 3.0,
        stop_grace_s: float = 0.8,
        note_period_s: float = 0.5,
    ) -> None:
        self._name = context.name
        self._control_timeout_s = control_timeout_s
        self._stop_grace_s = stop_grace_s
        self._note_period_s = note_period_s
        self._lock = threading.Lock()  # guards the two next
        self._prepared: _Acquisition | None = None
        self._running: _Acquisition | None = None
        warm_up_intake()
        self._ports = UdpPorts(context.properties, context.bind_address)
        try:
            self._listener = Listener(context.bind_address, decode, Exposures, "jungfrau")
        except BaseException:
            self._ports.close()
            raise

    def endpoints(self) -> dict[str, str]:
        """Where the detector sends to (HOST:PORT of its first port, the others follow), and where its control does."""
        return {UDP_ENDPOINT: f"{self._ports.address}:{self._ports.first}", ENDPOINT: self._listener.endpoint}

    def frame_info(self, parameters: AcquisitionParameters) -> FrameInfo:
        """Shape, type and extras of raw frames."""
        det = check(parameters).det
        return raw_info(det.nb_modules, det.interfaces)

    def conditioning(self, parameters: AcquisitionParameters) -> Conditioning:
        """How raw frames become images."""
        return make_conditioning(check(parameters))

    def prepare(self, setup: ReceiverSetup) -> FrameInfo:
        """Open the ports: from here on packets are kept. `PortTakenError` when another process has one of them."""
        parameters = check(setup.parameters).model_copy(deep=True)
        det = parameters.det
        if det.wire == "detector":
            check_receivers(setup.dispatch.receivers, setup.dispatch.block)
            check_block(parameters, setup.dispatch)
        self._ports.check(det.nb_modules * det.interfaces)
        config = intake_config(parameters, self._ports, setup.dispatch, setup.rank)
        if det.wire == "external":
            config.learns(None)
        with self._lock:
            if self._running is not None:
                raise StateError("the source still receives; stop it before it is prepared again")
            self._drop_prepared(setup.uuid)
            intake = Intake(config)
            try:
                exposures = self._listener.record(setup.uuid)
            except BaseException:
                intake.close()
                raise
            self._prepared = _Acquisition(setup, det, intake, exposures)
        return raw_info(det.nb_modules, det.interfaces)

    def _drop_prepared(self, uuid: str | None = None) -> None:
        """Close a prepared acquisition that was not used; the control's words about ``uuid`` are kept."""
        unused, self._prepared = self._prepared, None
        if unused is not None:
            unused.intake.close()
            if unused.setup.uuid != uuid:
                self._listener.finish(unused.setup.uuid)

    def run(self, sink: Sink) -> None:
        """Give the frames of the prepared acquisition to ``sink`` until the last one, or the cut of a stop.

        `DeviceTimeoutError` and `AcquisitionError` say who is silent or wrong, and what to do; see `Watch`.
        """
        with self._lock:
            acquisition = self._prepared
            if acquisition is None:
                raise StateError("the source is not prepared; prepare it before it is run")
            self._prepared, self._running = None, acquisition
        try:
            self._receive(acquisition, sink)
        finally:
            self._listener.finish(acquisition.setup.uuid)
            acquisition.intake.close()
            with self._lock:
                self._running = None

    def _receive(self, acquisition: _Acquisition, sink: Sink) -> None:
        setup, intake, exposures = acquisition.setup, acquisition.intake, acquisition.exposures
        begin = exposures.wait_begin(self._control_timeout_s, self._stop_grace_s)
        if begin is None:
            return
        receiving = acquisition.det.receiving
        patience = Patience(
            control_s=self._control_timeout_s,
            # a frame may count as exposed when its exposure begins
            detector_s=receiving.silence_s + setup.parameters.acq.expo_time * 1e-6,
            stop_s=self._stop_grace_s,
            note_s=self._note_period_s,
            tolerant=receiving.incomplete == "pass",
        )

        def due_of(frames: int) -> int:
            return setup.dispatch.count(setup.rank, frames)

        learning = begin.first_number is None
        frames = due_of(begin.total) if begin.total else None
        with Watch(intake, exposures, due_of, sink.note, patience, learning, self._name) as watch:
            intake.run(_Frames(sink, setup.dispatch, setup.rank), frames, begin.first_number)
        watch.check()

    def stop(self) -> None:
        """Give the frames up to the cut that the control says, for at most the grace; then nothing more."""
        for acquisition in (self._running, self._prepared):
            if acquisition is not None:
                acquisition.exposures.stop()

    def close(self) -> None:
        """Give all ports back; harmless twice."""
        self.stop()
        with self._lock:
            self._drop_prepared()
            running = self._running
        if running is not None:
            running.intake.close()
        self._listener.close()
        self._ports.close()


class _Frames:
    """Takes what the intake gives, and hands it to the engine."""

    def __init__(self, sink: Sink, dispatch: RoundRobin, rank: int) -> None:
        self._sink = sink
        self._dispatch = dispatch
        self._rank = rank

    def reserve(self) -> FrameBuffer | None:
        return self._sink.reserve()

    def deliver(self, buffer: Any, frame: Arrived) -> None:
        self._sink.deliver(buffer, self._meta(frame, FrameFlags.GOOD if frame.complete else FrameFlags.INCOMPLETE))

    def lost(self, frame: Arrived) -> None:
        why = FrameFlags.OVERRUN if frame.overrun else FrameFlags.GOOD if frame.empty else FrameFlags.INCOMPLETE
        self._sink.lost(self._meta(frame, FrameFlags.LOST | why))

    def _meta(self, frame: Arrived, flags: FrameFlags) -> FrameMeta:
        index = self._dispatch.global_index(self._rank, frame.local)
        extras = None if frame.empty else extras_of(frame)
        return FrameMeta(index, frame.local, frame.timestamp_ns, flags, extras=extras)


def intake_config(parameters: JungfrauParameters, ports: UdpPorts, dispatch: RoundRobin, rank: int) -> IntakeConfig:
    """What the intake of receiver ``rank`` is told."""
    det = parameters.det
    receiving = det.receiving
    return IntakeConfig(
        ports=module_ports(
            range(det.nb_modules),
            ports.first,
            det.interfaces,
            det.geometry.module_rows,
            ports.bind,
            det.module_ids or None,
        ),
        interfaces=det.interfaces,
        stride=dispatch.receivers,
        block=dispatch.block,
        phase=rank if det.wire == "detector" else None,
        incomplete="drop" if receiving.incomplete == "drop" else "pass",
        window=receiving.window,
        timeout_s=receiving.timeout_s,
        grace_s=max(receiving.timeout_s, MIN_GRACE_S),
        listeners=ListenerSettings(
            socket_buffer=receiving.socket_buffer_mb << 20,
            busy_poll_us=receiving.busy_poll_us,
            batch=receiving.batch,
            cpus=tuple(receiving.cpus),
            priority=receiving.priority,
        ),
    )
