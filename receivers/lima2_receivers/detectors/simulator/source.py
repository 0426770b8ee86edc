"""Source of the simulated detector: gives each of its frames when its exposure is over, by one copy."""

from __future__ import annotations

import itertools
import logging
import time
from dataclasses import dataclass

import numpy as np

from lima2_bliss.contract import AcquisitionError, FrameFlags, FrameInfo, FrameMeta, StateError
from lima2_bliss.contract.parameters import AcquisitionParameters
from lima2_receivers.detectors.link import Listener
from lima2_receivers.detectors.simulator.control import ENDPOINT
from lima2_receivers.detectors.simulator.generators import Content, describe, slots_of
from lima2_receivers.detectors.simulator.messages import decode
from lima2_receivers.detectors.simulator.params import SimulatorParameters, check
from lima2_receivers.detectors.simulator.prefetch import Prefetch
from lima2_receivers.detectors.simulator.schedule import Schedule
from lima2_receivers.detectors.simulator.stamp import stamp
from lima2_receivers.engine.buffers import FrameBuffer
from lima2_receivers.engine.plugin import ReceiverSetup, Sink, SourceContext

log = logging.getLogger(__name__)

#: A wait for a free buffer looks this often whether it was stopped [s].
RESERVE_STEP_S = 0.1


@dataclass(frozen=True)
class _Acquisition:
    setup: ReceiverSetup
    parameters: SimulatorParameters
    content: Content
    prefetch: Prefetch
    schedule: Schedule
    dropped: frozenset[int]


class SimulatorSource:
    """One receiver's part of the simulated detector.

    ``control_timeout_s``: silence of the control that ends an acquisition. ``stop_grace_s``: how long after `stop` the
    frames up to the cut may still come; then they are lost. ``prefetch_timeout_s``: longest wait for a frame to be
    computed; ``settle_s``: how much of it may be in `prepare`, after a change of the parameters.
    """

    def __init__(
        self,
        context: SourceContext,
        control_timeout_s: float = 3.0,
        stop_grace_s: float = 0.8,
        prefetch_timeout_s: float = 120.0,
        settle_s: float = 1.5,
    ) -> None:
        self._listener = Listener(context.bind_address, decode, Schedule, "simulator")
        self._control_timeout_s = control_timeout_s
        self._stop_grace_s = stop_grace_s
        self._prefetch_timeout_s = prefetch_timeout_s
        self._settle_s = settle_s
        self._prefetch: Prefetch | None = None
        self._prepared: _Acquisition | None = None  # the newest one
        self._running: _Acquisition | None = None

    def endpoints(self) -> dict[str, str]:
        """Where the control sends its exposures."""
        return {ENDPOINT: self._listener.endpoint}

    def frame_info(self, parameters: AcquisitionParameters) -> FrameInfo:
        """Shape and type of the frames."""
        return describe(check(parameters)).info

    def conditioning(self, parameters: AcquisitionParameters) -> None:
        """Raw frames are images."""

    def prepare(self, setup: ReceiverSetup) -> FrameInfo:
        """Have the frames computed, unless the last ones serve again."""
        if self._running is not None:
            raise StateError("the source still receives; stop it before it is prepared again")
        parameters = check(setup.parameters).model_copy(deep=True)
        content = describe(parameters)
        prefetch = self._prefetched(parameters, content, setup)
        if self._prepared is not None and self._prepared.setup.uuid != setup.uuid:
            self._listener.finish(self._prepared.setup.uuid)
        schedule = self._listener.record(setup.uuid)
        self._prepared = _Acquisition(setup, parameters, content, prefetch, schedule, parameters.det.dropped)
        return content.info

    def _prefetched(self, parameters: SimulatorParameters, content: Content, setup: ReceiverSetup) -> Prefetch:
        slots = slots_of(content, setup.dispatch, setup.rank)
        if self._prefetch is None or not self._prefetch.serves(content, slots):
            if self._prefetch is not None:
                self._prefetch.close()
            self._prefetch = Prefetch(parameters, content, slots)
        acq = parameters.acq
        frames = setup.dispatch.count(setup.rank, acq.nb_frames) if acq.nb_frames else len(slots)
        period_s = (acq.expo_time + acq.latency_time) * 1e-6 * setup.dispatch.receivers
        if not self._prefetch.wait_ahead(frames, period_s, self._settle_s):
            log.info("frames are still being computed; the first ones of the acquisition may come late")
        return self._prefetch

    def run(self, sink: Sink) -> None:
        """Give the frames of the prepared acquisition to ``sink`` until the last one or the cut of a stop."""
        acquisition = self._prepared
        if acquisition is None:
            raise StateError("the source is not prepared; prepare it before it is run")
        self._prepared, self._running = None, acquisition
        setup, schedule = acquisition.setup, acquisition.schedule
        total = setup.parameters.acq.nb_frames
        schedule.begin()
        try:
            for local in itertools.count():
                index = setup.dispatch.global_index(setup.rank, local)
                if total and index >= total:
                    break
                if not schedule.wait_exposed(index, self._control_timeout_s):
                    break
                self._hand_over(acquisition, FrameMeta(index, local), sink)
        finally:
            self._listener.finish(setup.uuid)
            self._running = None

    def stop(self) -> None:
        """Give the frames up to the cut that the control says, for at most the grace; then nothing more."""
        for acquisition in (self._running, self._prepared):
            if acquisition is not None:
                acquisition.schedule.stop(self._stop_grace_s)
                acquisition.prefetch.wake()

    def close(self) -> None:
        """Give the port back and end the computation of frames."""
        self.stop()
        if self._prefetch is not None:
            self._prefetch.close()
        self._listener.close()

    def _hand_over(self, acquisition: _Acquisition, meta: FrameMeta, sink: Sink) -> None:
        det, schedule = acquisition.parameters.det, acquisition.schedule
        if meta.index + 1 == det.failed_frame_idx:
            raise AcquisitionError(
                f"simulated failure at frame number {det.failed_frame_idx}; set det.failed_frame_idx to 0 to have none",
                frame=meta.index,
                receiver=acquisition.setup.rank,
            )
        slow = det.faults.slow_receiver
        if slow.rank == acquisition.setup.rank and slow.delay_ms:
            schedule.pause(slow.delay_ms / 1000)
        if meta.index in acquisition.dropped or schedule.given_up:
            sink.lost(_lost(meta, FrameFlags.LOST))
            return
        slot = meta.index % acquisition.content.slots
        pixels = acquisition.prefetch.frame(slot, self._prefetch_timeout_s, lambda: schedule.stopping)
        if pixels is None:
            sink.lost(_lost(meta, FrameFlags.LOST))
            return
        buffer = self._place(det.on_overrun == "wait", schedule, sink)
        if buffer is None:
            sink.lost(_lost(meta, FrameFlags.LOST | FrameFlags.OVERRUN))
            return
        try:
            np.copyto(buffer.data, pixels, casting="no")  # releases the GIL
            if det.stamp_frame_number:
                stamp(buffer.data, meta.index)
        except BaseException:
            buffer.release()
            raise
        meta.timestamp_ns = time.time_ns()
        sink.deliver(buffer, meta)

    @staticmethod
    def _place(wait: bool, schedule: Schedule, sink: Sink) -> FrameBuffer | None:
        """A buffer; waiting for one, if asked, until it is given up."""
        buffer = sink.reserve(RESERVE_STEP_S if wait else 0.0)
        while buffer is None and wait and not schedule.given_up:
            buffer = sink.reserve(RESERVE_STEP_S)
        return buffer


def _lost(meta: FrameMeta, flags: FrameFlags) -> FrameMeta:
    meta.flags = flags
    meta.timestamp_ns = time.time_ns()
    return meta
