"""``lima2-control INSTANCE``: the Tango server of a detector's control."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import tango
from tango.server import attribute, command

from lima2_bliss.contract import AcqState, ConnectionLostError, ParameterError
from lima2_receivers.engine.control import ControlEngine
from lima2_receivers.engine.plugin import ControlContext, DetectorPlugin
from lima2_receivers.engine.registry import load_detector
from lima2_receivers.servers.acquisition_device import AcquisitionDevice
from lima2_receivers.servers.instance import check_class, find_instance, run_main, serve
from lima2_receivers.servers.log_level import log_to_stderr
from lima2_receivers.servers.schemas import ACQ_PARAMS, publish_schema
from lima2_receivers.servers.shown_state import ShownState
from lima2_receivers.servers.tango_errors import beside_others, json_text, speaks_tango

logger = logging.getLogger(__name__)

SERVER = "lima2_control"
RECEIVER_TIMEOUT_S = 1.0


class ReceiverAddresses:
    """Where control reaches the sources of its receivers; asked anew each time, for a receiver may have restarted."""

    def __init__(self, receivers: Sequence[str], timeout_s: float = RECEIVER_TIMEOUT_S) -> None:
        self._receivers = receivers
        self._timeout_s = timeout_s
        self._proxies: dict[str, tango.DeviceProxy] = {}

    def __call__(self) -> list[Mapping[str, str]]:
        """`Source.endpoints` of each receiver, in rank order."""
        return [self._ask(name) for name in self._receivers]

    def _ask(self, name: str) -> Mapping[str, str]:
        try:
            proxy = self._proxies.get(name)
            if proxy is None:
                proxy = tango.DeviceProxy(name)
                proxy.set_timeout_millis(int(self._timeout_s * 1000))
                self._proxies[name] = proxy
            return json.loads(proxy.read_attribute("source_endpoints").value)
        except tango.DevFailed as failure:
            self._proxies.pop(name, None)
            raise ConnectionLostError(
                f"receiver {name} does not answer control: {failure.args[0].desc.strip().splitlines()[0]}",
                receiver=name,
            ) from failure


class ControlDevice(AcquisitionDevice):
    """Owns the detector: parameters, trigger, state, number of frames exposed."""

    engine: ClassVar[ControlEngine]
    receiver_names: ClassVar[tuple[str, ...]] = ()
    refused: ClassVar[bool] = False

    def end(self) -> None:
        """What runs is stopped."""
        end(type(self))

    def looked(self) -> None:
        """An acquisition that must be watched goes on."""
        self.engine.looked()

    @attribute(dtype=str, access=tango.AttrWriteType.READ_WRITE, doc="JSON acquisition parameters")
    @speaks_tango
    def acq_params(self) -> str:
        return (self.engine.parameters or self.engine.plugin.parameters()).model_dump_json()

    @acq_params.write  # type: ignore[no-redef]
    @speaks_tango
    def acq_params(self, text: str) -> None:
        type(self).refused = True
        self.engine.check_acquisition(json_text(text))
        type(self).refused = False

    @attribute(dtype="DevLong", doc="frames exposed in the current acquisition, whole system")
    @speaks_tango
    def nb_frames_acquired(self) -> int:
        return self.engine.nb_frames_acquired

    @attribute(dtype=bool, doc="all frames of the acquisition have been exposed")
    @speaks_tango
    def finished(self) -> bool:
        return self.engine.finished

    @attribute(dtype=str, doc="version of the detector plugin")
    @speaks_tango
    def version(self) -> str:
        return self.engine.plugin.version

    @attribute(dtype=(str,), max_dim_x=256, doc="receiver devices in rank order")
    @speaks_tango
    def receivers(self) -> list[str]:
        return list(self.receiver_names)

    @attribute(dtype=str, doc="uuid of the acquisition prepared last")
    @speaks_tango
    def uuid(self) -> str:
        return self.engine.uuid

    @attribute(dtype=str, doc="JSON: plugin, model, sn, pixel_size [m], dimensions [px]")
    @speaks_tango
    def det_info(self) -> str:
        return json.dumps(self.engine.info())

    @attribute(dtype=str, doc="JSON: state and values of the detector")
    @speaks_tango
    def det_status(self) -> str:
        return json.dumps(self.engine.status())

    @attribute(dtype=str, doc="JSON: trigger modes and ranges (times in ns)")
    @speaks_tango
    def det_capabilities(self) -> str:
        return json.dumps(self.engine.capabilities())

    def require_accepted(self) -> None:
        if self.refused:
            raise ParameterError("acq_params written last were refused; write them again")

    @speaks_tango
    def is_Trigger_allowed(self) -> bool:
        self.engine.require("Trigger")
        return True

    @command
    @speaks_tango
    @beside_others
    def Trigger(self) -> None:
        self.engine.trigger()

    @command
    @speaks_tango
    @beside_others
    def Close(self) -> None:
        self.engine.close()

    @command(dtype_out=(str,), doc_out="names of the detector's own commands")
    @speaks_tango
    @beside_others
    def detectorCommands(self) -> list[str]:
        return self.engine.command_names()

    @command(dtype_in=(str,), dtype_out=str, doc_in="name, JSON argument", doc_out="JSON result")
    @speaks_tango
    @beside_others
    def detectorCommand(self, request: list[str]) -> str:
        if not 1 <= len(request) <= 2:
            raise ParameterError(f"detectorCommand with {len(request)} strings; give a name and a JSON argument")
        return json.dumps(self.engine.command(request[0], _argument(*request[1:])))


def _argument(text: str = "null") -> Any:
    try:
        return json.loads(json_text(text))
    except ValueError as error:
        raise ParameterError(f"argument {text[:60]!r} is not JSON: {error}") from None


_ending = threading.Lock()


def end(device_class: type[ControlDevice]) -> None:
    """Stop what runs and release the detector. Harmless twice."""
    with _ending:
        if device_class.engine.state is not AcqState.TERMINATE:
            device_class.engine.shutdown()


def device_class(plugin: DetectorPlugin) -> type[ControlDevice]:
    """The Tango class of this detector's control."""
    return type(f"Lima{plugin.name}Control", (ControlDevice,), {"__doc__": f"Control of {plugin.name}."})


def serve_control(name: str, arguments: Sequence[str] = ()) -> None:
    """Serve control instance ``name`` until the process is told to end."""
    instance = find_instance(SERVER, name)
    log_to_stderr(instance.device)
    plugin = load_detector(instance.text("detector"))
    cls = device_class(plugin)
    check_class(instance, cls.__name__)
    cls.receiver_names = instance.texts("receivers")
    if not cls.receiver_names:
        raise ParameterError(f"device {instance.device} has no property 'receivers'; list its receivers in rank order")
    publish_schema(instance.database, cls.__name__, ACQ_PARAMS, plugin.parameters)
    context = ControlContext(instance.device, instance.plain(), ReceiverAddresses(cls.receiver_names))
    cls.engine = ControlEngine(instance.device, plugin, context)
    cls.shown = ShownState()
    cls.engine.subscribe_state(cls.shown.follow)
    try:
        serve(instance, [cls], arguments)
    finally:
        end(cls)


def main() -> None:
    """Entry point of ``lima2-control``."""
    run_main(SERVER, serve_control)
