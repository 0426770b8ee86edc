"""The session's connection to the processes of a detector: control, receivers, access, publisher."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import gevent.lock

from lima2_bliss.client import Acquisition, Detector, DeviceLink, Patience
from lima2_bliss.client.concurrency import start
from lima2_bliss.client.preparation import look, write_parameters
from lima2_bliss.client.readiness import when_ready
from lima2_bliss.contract import AcqState, Lima2Error

_log = logging.getLogger(__name__)

#: Command of detectors whose image has a size that follows from several parameters.
_IMAGE_SHAPE = "image_shape"


#: In step scans each frame is waited for; otherwise a status now and then will do.
_STEP_PATIENCE = Patience(breath_s=0.0)


class Connection:
    """Calls to the detector's processes, and what is known of the detector (asked once, and again after `forget`)."""

    def __init__(self, control: str, receivers: Sequence[str], access: str, publisher: str) -> None:
        self.client = Detector(control, receivers, access)
        self._step_client = Detector(control, receivers, access, patience=_STEP_PATIENCE)
        self._control = DeviceLink(control)
        self._receivers = [DeviceLink(name) for name in receivers]
        self._access = DeviceLink(access)
        self._publisher = DeviceLink(publisher)
        #: Held while an acquisition is prepared beside scans, or parameters are tried: one at a time.
        self.turn = gevent.lock.RLock()
        self._info: dict[str, Any] | None = None
        self._capabilities: dict[str, Any] | None = None
        self._defaults: dict[str, Any] | None = None
        self._commands: list[str] | None = None
        self._shapes: dict[str, tuple[int, int]] = {}

    def forget(self) -> None:
        """Ask the detector anew for what is known of it."""
        self._info = self._capabilities = self._defaults = self._commands = None
        self._shapes.clear()

    def info(self) -> dict[str, Any]:
        """``det_info`` of control."""
        if self._info is None:
            self._info = self.client.info()
        return self._info

    def capabilities(self) -> dict[str, Any]:
        """``det_capabilities`` of control."""
        if self._capabilities is None:
            self._capabilities = self.client.capabilities()
        return self._capabilities

    def detector_defaults(self) -> dict[str, Any]:
        """Default values of the detector's own parameters."""
        if self._defaults is None:
            self._defaults = dict(self.client.default_parameters()[0].get("det", {}))
        return self._defaults

    def command_names(self) -> list[str]:
        """Names of the detector's own commands."""
        if self._commands is None:
            self._commands = [str(name) for name in self._control.call("detectorCommands")]
        return list(self._commands)

    def shape(self, parameters: Mapping[str, Any]) -> tuple[int, int] | None:
        """(height, width) of the images that detectors with the command `image_shape` give with ``det`` parameters.

        None for other detectors, and when control does not answer.
        """
        asked = json.dumps(parameters, sort_keys=True)
        if asked not in self._shapes:
            try:
                if _IMAGE_SHAPE not in self.command_names():
                    return None
                size = self.client.command(_IMAGE_SHAPE, dict(parameters))
            except Lima2Error as error:
                _log.debug("the size of the image is not known: %s", error)
                return None
            self._shapes[asked] = int(size["y"]), int(size["x"])
        return self._shapes[asked]

    def info_now(self) -> dict[str, Any]:
        """``det_info`` of control, asked anew."""
        self._info = self.client.info()
        return self._info

    def info_if_known(self) -> dict[str, Any]:
        """``det_info``, empty when control does not answer."""
        try:
            return self.info()
        except Lima2Error:
            return {}

    def defaults_if_known(self) -> dict[str, Any]:
        """Default values of the detector's own parameters, empty when nobody answers."""
        try:
            return self.detector_defaults()
        except Lima2Error:
            return {}

    def check(self, acquisition: Mapping[str, Any], processing: Mapping[str, Any]) -> None:
        """Have all devices check the parameters: raises what `prepare` would, and leaves everything as it is.

        Devices that need a reset first are left to `prepare`.
        """
        with self.turn:
            publisher = start(lambda: self._publisher.read_here("State"))
            try:
                snapshot = look(self._control, self._receivers, self._access)
            finally:
                outcome = publisher.outcome()
            outcome.get()
            states = [snapshot.control.state, *(receiver.state for receiver in snapshot.receivers)]
            if all(state in (AcqState.IDLE, AcqState.PREPARED) for state in states):
                tree = dict(acquisition), dict(processing)
                when_ready(lambda: write_parameters(self._control, self._receivers, *tree))

    def prepare(self, acquisition: dict[str, Any], processing: dict[str, Any], stepwise: bool) -> Acquisition:
        """Prepare an acquisition; ``stepwise`` when each frame will be waited for."""
        client = self._step_client if stepwise else self.client
        return client.prepare(acquisition, processing)

    def close(self) -> None:
        """Close all sockets."""
        self.client.close()
        self._step_client.close()


def detector_shape(parameters: Mapping[str, Any], info: Mapping[str, Any]) -> tuple[int, int] | None:
    """(height, width) of the raw frames, None when only the detector can tell.

    A detector whose size is one of its parameters calls it ``size`` with ``x`` and ``y``; it replays files of any
    size when its ``generator.type`` is ``file``. Otherwise the size is in its ``det_info``.
    """
    generator = parameters.get("generator")
    if isinstance(generator, Mapping) and generator.get("type") == "file":
        return None
    for size in (parameters.get("size"), info.get("dimensions")):
        if isinstance(size, Mapping) and "x" in size and "y" in size:
            return int(size["y"]), int(size["x"])
    return None
