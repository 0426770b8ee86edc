"""Frames computed once and replayed: made in the background, kept as long as the parameters ask for the same pixels."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from lima2_bliss.contract import AcquisitionError, DeviceTimeoutError
from lima2_receivers.detectors.simulator.generators import Content, make_frame
from lima2_receivers.detectors.simulator.params import SimulatorParameters

log = logging.getLogger(__name__)


class Prefetch:
    """The frames of some slots, computed in a thread in the given order. Close it to stop the computation."""

    def __init__(self, parameters: SimulatorParameters, content: Content, slots: Sequence[int]) -> None:
        self.content = content
        self.slots = tuple(slots)
        self._parameters = parameters.model_copy(deep=True)
        self._frames: dict[int, np.ndarray] = {}
        self._changed = threading.Condition()
        self._error: Exception | None = None
        self._closed = False
        self._started_s = time.monotonic()
        self._thread = threading.Thread(target=self._compute, name="prefetch", daemon=True)
        self._thread.start()

    def _compute(self) -> None:
        for slot in self.slots:
            if self._closed:
                return
            try:
                frame = make_frame(self._parameters, self.content, slot)
            except Exception as error:  # noqa: BLE001 - raised again by who waits for the frame
                with self._changed:
                    self._error = error
                    self._changed.notify_all()
                return
            with self._changed:
                self._frames[slot] = frame
                self._changed.notify_all()
        log.info("%d frames computed in %.3f s", len(self.slots), time.monotonic() - self._started_s)

    @property
    def failed(self) -> bool:
        """True when the computation ended in an error."""
        return self._error is not None

    def wait_ahead(self, frames: int, period_s: float, timeout_s: float) -> bool:
        """Wait until ``frames`` frames, one every ``period_s``, can be replayed without having to wait for any.

        False when that is not so within ``timeout_s``. Raises what went wrong in the computation.
        """
        needed = min(frames, len(self.slots))

        def ahead() -> bool:
            there = len(self._frames)
            if there >= needed or self.failed:
                return True
            return there > 0 and (time.monotonic() - self._started_s) / there < 0.7 * period_s

        with self._changed:
            enough = self._changed.wait_for(ahead, timeout_s)
            if self._error is not None:
                raise self._error
            return enough

    def frame(self, slot: int, timeout_s: float, stopped: Callable[[], bool]) -> np.ndarray | None:
        """Pixels of a slot, waiting for them; None when ``stopped`` (call `wake` when that changes)."""
        ready = self._frames.get(slot)
        if ready is not None:
            return ready
        with self._changed:
            self._changed.wait_for(lambda: slot in self._frames or self.failed or stopped(), timeout_s)
            if slot in self._frames:
                return self._frames[slot]
            if self._error is not None:
                raise AcquisitionError(f"simulated frames cannot be computed: {self._error}") from self._error
            if stopped():
                return None
        raise DeviceTimeoutError(
            f"simulated frame {slot} was not computed in {timeout_s:g} s; "
            "make det.size or det.nb_prefetch_frames smaller"
        )

    def wake(self) -> None:
        """Make those who wait look again whether they are stopped."""
        with self._changed:
            self._changed.notify_all()

    def serves(self, content: Content, slots: Sequence[int]) -> bool:
        """True when it has, or will have, these very frames."""
        return not self.failed and self.content.key == content.key and set(slots) <= set(self.slots)

    def close(self) -> None:
        """Stop computing; frames that are there stay readable for those who hold it."""
        self._closed = True
