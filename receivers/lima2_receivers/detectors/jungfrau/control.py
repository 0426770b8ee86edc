"""Control of the Jungfrau: it configures the detector, tells the receivers what comes, and where it ends."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from lima2_bliss.contract import Lima2Error, StateError
from lima2_bliss.contract.parameters import AcquisitionParameters, parse
from lima2_receivers.detectors.jungfrau.backend import Backend
from lima2_receivers.detectors.jungfrau.choice import choose_backend, default_settings
from lima2_receivers.detectors.jungfrau.commands import ExternalEnd, Workbench
from lima2_receivers.detectors.jungfrau.destinations import addresses_of, table_of
from lima2_receivers.detectors.jungfrau.messages import (
    EXPOSED_PERIOD_S,
    UDP_ENDPOINT,
    BeginMessage,
    EndMessage,
    ExposedMessage,
)
from lima2_receivers.detectors.jungfrau.params import (
    MAX_EXPO_US,
    MIN_EXPO_US,
    NEXUS,
    PIXEL_SIZE_M,
    JungfrauParameters,
    check,
    check_receivers,
)
from lima2_receivers.detectors.jungfrau.timing import check_timing
from lima2_receivers.detectors.link import Transmitter
from lima2_receivers.engine.plugin import ControlContext

log = logging.getLogger(__name__)

MakeBackend = Callable[[Mapping[str, str], Callable[[], None]], Backend]


class JungfrauControl:
    """A Jungfrau: the real one when the device has the property `slsdet_hosts` or `slsdet_config`, else a simulation.

    ``period_s``: how often the receivers hear how many frames were exposed.
    """

    def __init__(
        self,
        context: ControlContext,
        make_backend: MakeBackend = choose_backend,
        period_s: float = EXPOSED_PERIOD_S,
    ) -> None:
        self._context = context
        self._period_s = period_s
        self._transmitter = Transmitter()
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._parameters = JungfrauParameters(det=default_settings(context.properties))
        self._uuid = ""
        self._prepared = self._started = self._closed = False
        self._cut: int | None = None
        self._mute = False  # some receiver does not take messages
        self._backend = make_backend(context.properties, self._wake.set)
        self._workbench = Workbench(lambda: self._parameters.det)
        self._thread = threading.Thread(target=self._keep_alive, name="jungfrau-control", daemon=True)
        self._thread.start()

    # --- what it is ---------------------------------------------------------------------------------------------

    def info(self) -> dict[str, Any]:
        """Model, serial number, pixel size [m], and the image size of the last parameters, gaps included."""
        height, width = self._parameters.det.geometry.layout.image_shape
        return {
            "plugin": "Jungfrau",
            **self._backend.info(),
            "pixel_size": {"x": PIXEL_SIZE_M, "y": PIXEL_SIZE_M},
            "dimensions": {"x": width, "y": height},
            "nexus": NEXUS,
        }

    def status(self) -> dict[str, Any]:
        """State, ``backend`` (`simulated`, `slsdet`), and values such as temperatures [degC]."""
        with self._lock:
            if not self._prepared:
                state = "idle"
            elif not self._started and self._cut is None:
                state = "armed"
            else:
                state = "idle" if self.finished else "exposing"
        return {"state": state, "backend": self._backend.name, **self._backend.status()}

    def capabilities(self) -> dict[str, Any]:
        """Trigger modes and ranges; times in nanoseconds. From frame to frame it takes `MIN_PERIOD_US` at least."""
        return {
            "trigger_modes": ["internal", "software", "external"],
            "expo_time_range": [MIN_EXPO_US * 1000, MAX_EXPO_US * 1000],
            "latency_time_range": [0, MAX_EXPO_US * 1000],
            "nb_frames_per_trigger_range": [1, 2**31 - 1],
        }

    def commands(self) -> Mapping[str, Callable[[Any], Any]]:
        """Those of the detector (`pulse`: simulated only) and of the `Workbench`, and for det.wire = external:

        `udp_addresses`: where each receiver listens, as ``HOST:PORT+`` for lima2-jungfrau-sim.
        `external_end` {total}: the other program has sent all its frames, so many.
        """
        return {
            **self._backend.commands(),
            **self._workbench.commands(simulated=self._backend.name == "simulated"),
            "udp_addresses": self._udp_addresses,
            "external_end": self._external_end,
        }

    # --- acquisition --------------------------------------------------------------------------------------------

    def prepare(self, uuid: str, parameters: AcquisitionParameters) -> None:
        """Configure the detector for acquisition ``uuid``, tell the receivers; one in progress is ended first."""
        checked = check(parameters).model_copy(deep=True)
        if uuid == self._uuid and (self._started or self._cut is not None):
            raise StateError(f"acquisition {uuid} is over on the detector; prepare with a new uuid")
        links, receivers = addresses_of(self._context.receivers(), checked.det)
        check_receivers(len(receivers), checked.xfer.block)
        check_timing(checked)
        external = checked.det.wire == "external"
        with self._lock:
            if uuid != self._uuid:
                self._abandon()
            self._prepared = False
        number = None if external else self._backend.configure(checked, table_of(receivers, checked.xfer.block))
        with self._lock:
            self._transmitter.connect(links)
            self._parameters, self._uuid = checked, uuid
            self._started, self._cut, self._mute = False, None, False
            self._transmitter.send(BeginMessage(uuid=uuid, first_number=number, total=checked.acq.nb_frames))
            self._prepared = True
        self._wake.set()

    def start(self) -> None:
        """Expose (internal trigger), or wait for triggers."""
        with self._lock:
            if not self._prepared or self._started or self._cut is not None:
                raise StateError("start without prepare; prepare an acquisition first")
            if not self._external:
                self._backend.start()
            self._started = True
        self._wake.set()

    def trigger(self) -> None:
        """Software trigger: exposes the frames of one trigger."""
        with self._lock:
            mode = self._parameters.acq.trigger_mode
            if not self._prepared or not self._started or self._cut is not None:
                raise StateError("software trigger while no acquisition runs; prepare and start one")
            if self._external or mode != "software":
                raise StateError(
                    f"software trigger in an acquisition with acq.trigger_mode = {mode!r}, det.wire = "
                    f"{self._parameters.det.wire!r}; it needs 'software' and 'detector'"
                )
            self._backend.trigger()

    def stop(self) -> None:
        """Expose no more; the frames exposed so far are every receiver's cut."""
        with self._lock:
            self._end()

    def reset(self) -> None:
        """End any acquisition, and be idle."""
        with self._lock:
            self._abandon()
            self._prepared = False

    def close(self) -> None:
        """End any acquisition and the process's part in it; harmless twice."""
        with self._lock:
            if self._closed:
                return
            self.reset()
            self._closed = True
        self._wake.set()
        self._thread.join()
        self._workbench.close()
        self._backend.close()
        self._transmitter.close()

    @property
    def nb_frames_acquired(self) -> int:
        """Frames exposed so far, whole system; 0 with det.wire = external until `external_end`."""
        with self._lock:
            if not self._prepared or not self._started:
                return 0
            if self._cut is not None:
                return self._cut
            return 0 if self._external else self._backend.frames_exposed

    @property
    def finished(self) -> bool:
        """True when all frames, or those up to the cut of a stop, have been exposed.

        With det.wire = external that is known only after `stop` or `external_end`; receivers that have all of
        acq.nb_frames end nonetheless.
        """
        with self._lock:
            if not self._prepared:
                return False
            return self._cut is not None or (self._started and not self._external and self._backend.finished)

    @property
    def cut(self) -> int | None:
        """How many frames the acquisition has; None until that is certain."""
        return self._cut

    # --- inside -------------------------------------------------------------------------------------------------

    @property
    def _external(self) -> bool:
        return self._parameters.det.wire == "external"

    def _end(self, total: int | None = None) -> None:
        """Stop the detector and say to the receivers where the acquisition ends, once."""
        if not self._prepared or self._cut is not None:
            return
        exposed = 0
        try:
            exposed = 0 if self._external else self._backend.frames_exposed
            if not self._external:
                exposed = self._backend.stop()
        finally:  # the receivers must not wait for more, whatever the detector does
            self._cut = exposed if total is None else total
            self._transmitter.send(EndMessage(uuid=self._uuid, total=self._cut))

    def _abandon(self) -> None:
        """End it, also when a receiver or the detector is gone."""
        try:
            self._end()
        except Lima2Error as error:
            log.warning("acquisition %s ended: %s", self._uuid, error)

    def _keep_alive(self) -> None:
        while not self._closed:
            alive = self._prepared and self._cut is None
            self._wake.wait(self._period_s if alive else None)
            self._wake.clear()
            failure = self._look()
            if failure is not None:
                self._context.fail(failure)

    def _look(self) -> Lima2Error | None:
        """Say how many frames there are, or the end; the error when that, or the detector, failed."""
        uuid = self._uuid
        failed: Lima2Error | None = None
        if self._started and self._cut is None and not self._external:
            try:
                self._backend.poll()
            except Lima2Error as error:
                failed = error
        with self._lock:
            if self._closed or not self._prepared or self._cut is not None or uuid != self._uuid:
                return None
            try:
                if failed is not None or self.finished:
                    self._end()
                else:
                    self._transmitter.send(ExposedMessage(uuid=uuid, count=self.nb_frames_acquired))
            except Lima2Error as error:
                first, self._mute = not self._mute, True
                return failed or (error if first else None)
        return failed

    def _udp_addresses(self, argument: Any) -> list[str]:
        return [offered.get(UDP_ENDPOINT, "") + "+" for offered in self._context.receivers()]

    def _external_end(self, argument: Any) -> dict[str, int]:
        total = parse(ExternalEnd, argument, "argument of external_end").total
        with self._lock:
            if not (self._prepared and self._started and self._external and self._cut is None):
                raise StateError("external_end while no acquisition with det.wire = 'external' runs; start one")
            self._end(total)
        return {"total": total}
