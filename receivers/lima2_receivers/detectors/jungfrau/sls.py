"""The real detector, through PSI's package slsdet."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lima2_bliss.contract import (
    AcquisitionError,
    ConnectionLostError,
    Lima2Error,
    NotAvailableError,
    ParameterError,
    StateError,
)
from lima2_receivers.detectors.jungfrau.backend import Destination
from lima2_receivers.detectors.jungfrau.hardware_addresses import known_macs
from lima2_receivers.detectors.jungfrau.params import JungfrauParameters
from lima2_receivers.detectors.jungfrau.sls_settings import (
    ENDLESS,
    check_modules,
    connect,
    destination_lines,
    each,
    set_destinations,
    set_readout,
    set_timing,
)

log = logging.getLogger(__name__)

#: Bad answers in a row before an acquisition fails; and looks at a detector that ended with too few frames.
PATIENCE = 5


def import_slsdet() -> Any:
    """The package; `NotAvailableError` says how to get it."""
    try:
        import slsdet
    except ImportError as error:
        raise NotAvailableError(
            f"a real Jungfrau needs the package slsdet ({error}): pip install 'lima2-bliss[slsdet]', of the same "
            "version as the servers on the modules; or remove the properties slsdet_hosts and slsdet_config to have a "
            "simulated detector"
        ) from None
    return slsdet


class SlsDetector:
    """All modules behind one `slsdet.Jungfrau`. Device properties:

    ``slsdet_config``: file of slsdet commands (detsize, hostname, udp_srcip, ...) that is loaded at the start; or
    ``slsdet_hosts``: host names of the modules in order, with ``module_rows`` and ``module_columns`` (default: one
    column). ``slsdet_parameters``: further slsdet commands, one a line, such as ``0:udp_srcip 10.1.1.20``.
    ``slsdet_id``: number of its shared memory. ``udp_mac``: Ethernet addresses of the receivers, ``IP=MAC``, where this
    host cannot know them.
    """

    name = "slsdet"

    def __init__(self, properties: Mapping[str, str], load: Callable[[], Any] = import_slsdet) -> None:
        self._properties = properties
        self._sls = load()
        self._macs = known_macs(properties.get("udp_mac", ""))
        self._lock = threading.RLock()  # slsdet is for one thread at a time
        self._known: Any = None
        self._serials: list[str] = []
        self._lines: list[str] = []
        self._first = self._total = self._frames = self._odd = 0
        self._internal = True
        self._running = self._over = False
        self._status = "offline"
        self._trouble = ""
        self._temperatures: dict[str, float] = {}
        try:
            with self._lock:
                self._detector()
        except Lima2Error as error:  # it may be switched on later
            log.error("%s", error)

    # --- acquisition --------------------------------------------------------------------------------------------

    def configure(self, parameters: JungfrauParameters, destinations: Sequence[Destination]) -> int:
        """Set everything that frames depend on, and the table of destinations."""
        acq, det = parameters.acq, parameters.det
        per_trigger = acq.nb_frames_per_trigger
        if acq.trigger_mode != "internal" and acq.nb_frames % per_trigger:
            raise ParameterError(
                f"acq.nb_frames = {acq.nb_frames} is no multiple of acq.nb_frames_per_trigger = {per_trigger}; each "
                "trigger of a Jungfrau gives all of its frames"
            )
        with self._lock, self._asking("cannot be configured"):
            detector = self._detector()
            check_modules(detector, det)
            if self._running:
                detector.stopDetector()
                self._running = False
            set_readout(self._sls, detector, det)
            set_timing(self._sls, detector, parameters)
            lines = destination_lines(destinations, det.interfaces, self._macs)
            if lines != self._lines:  # hundreds of commands for a large detector
                self._lines = []
                set_destinations(detector, lines, len(destinations))
                self._lines = lines
            numbers = each(detector.nextframenumber)
            self._first = max(numbers)
            if len(set(numbers)) > 1:  # a stop may leave modules one apart
                detector.nextframenumber = self._first
            self._total, self._internal = acq.nb_frames or ENDLESS, acq.trigger_mode == "internal"
            self._frames, self._odd, self._over = 0, 0, False
        return self._first

    def start(self) -> None:
        """Expose, or wait for triggers."""
        with self._lock, self._asking("does not start"):
            self._running = True
            self._detector().startDetector()

    def trigger(self) -> None:
        """Software trigger."""
        with self._lock, self._asking("does not take the trigger"):
            detector = self._detector()
            if any(status != self._sls.runStatus.WAITING for status in each(detector.status)):
                raise StateError("the trigger comes too early: the detector does not wait for one yet")
            detector.sendSoftwareTrigger()

    def stop(self) -> int:
        """Expose no more. The frames that all modules have exposed are counted."""
        with self._lock:
            if self._running:
                with self._asking("cannot be stopped"):
                    detector = self._detector()
                    detector.stopDetector()
                    self._running, self._over = False, True
                    self._frames = min(each(detector.framecounter))
            return min(self._frames, self._total)

    def poll(self) -> None:
        """Ask for the state and for frames so far; a few bad answers in a row are an error."""
        with self._lock:
            if not self._running:
                return
            try:
                with self._asking("does not answer"):
                    self._look(self._detector())
                self._trouble = ""
            except ConnectionLostError as error:
                self._trouble = error.what
                self._odd += 1
                if self._odd < PATIENCE:
                    return
                raise AcquisitionError(f"{error.what} ({PATIENCE} times in a row)") from error

    def _look(self, detector: Any) -> None:
        states = set(each(detector.status))
        self._frames = min(each(detector.framecounter))
        status = self._sls.runStatus
        self._status = ", ".join(sorted(str(state.name).lower() for state in states))
        if status.ERROR in states:
            self._running, self._over = False, True
            raise AcquisitionError("a module is in status ERROR; restart its server, then prepare again")
        if states & {status.RUNNING, status.WAITING, status.TRANSMITTING}:
            self._odd = 0
        elif self._frames >= self._total:
            self._running, self._over = False, True
        else:
            self._odd += 1
            if self._odd >= PATIENCE:
                self._running, self._over = False, True
                raise AcquisitionError(
                    f"the detector is {self._status} after {self._frames} of {self._total} frames; somebody else may "
                    "have stopped it"
                )

    @property
    def frames_exposed(self) -> int:
        """Frames that all modules had exposed at the last `poll` or `stop`."""
        return min(self._frames, self._total)

    @property
    def finished(self) -> bool:
        """Whether all frames are exposed, or it was stopped."""
        return self._over

    # --- what it is ---------------------------------------------------------------------------------------------

    def info(self) -> dict[str, str]:
        """Model, and the serial numbers of its modules."""
        given = self._properties.get("serial_number", "")
        return {"model": "Jungfrau", "sn": given or "+".join(self._serials) or "unknown"}

    def status(self) -> dict[str, Any]:
        """``detector``: its own status; temperatures [degC], the highest of all modules; ``trouble`` in words."""
        if self._lock.acquire(timeout=0.5):
            try:
                self._ask_how_it_is()
            finally:
                self._lock.release()
        return {"detector": self._status, "trouble": self._trouble, **self._temperatures}

    def _ask_how_it_is(self) -> None:
        try:
            with self._asking("does not answer"):
                detector = self._detector()
                self._status = ", ".join(sorted({str(state.name).lower() for state in each(detector.status)}))
                names = {"TEMPERATURE_ADC": "temperature", "TEMPERATURE_FPGA": "temperature_fpga"}
                for kind, name in names.items():
                    values = detector.getTemperature(getattr(self._sls.dacIndex, kind))
                    self._temperatures[name] = float(max(values))  # whole degrees
            self._trouble = ""
        except Lima2Error as error:
            self._status, self._trouble = "offline", error.what

    def commands(self) -> Mapping[str, Callable[[Any], Any]]:
        """None."""
        return {}

    def close(self) -> None:
        """Stop what runs; the detector keeps its settings."""
        try:
            self.stop()
        except Lima2Error as error:
            log.warning("%s", error)

    # --- inside -------------------------------------------------------------------------------------------------

    def _detector(self) -> Any:
        """The detector, connected."""
        if self._known is None:
            with self._asking("cannot be reached"):
                detector = connect(self._sls, self._properties)
                self._serials = _serials(detector)
            self._known = detector
        return self._known

    def _asking(self, what: str) -> _Asking:
        where = self._properties.get("slsdet_config") or self._properties.get("slsdet_hosts", "")
        return _Asking(f"the detector ({where.strip()}) {what}")


def _serials(detector: Any) -> list[str]:
    """Serial numbers of the modules; none where the boards do not tell."""
    try:
        return [str(number) for number in each(detector.serialnumber)]
    except RuntimeError as error:
        log.info("the detector does not tell its serial number: %s", error)
        return []


class _Asking:
    """Gives the errors of slsdet, which are of all sorts, the form of ours."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, Lima2Error):
            text = " ".join(str(error).split()) or repr(error)
            raise ConnectionLostError(f"{self._what}: {text}") from error
