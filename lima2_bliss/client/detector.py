"""A detector of one control and N receivers behind one object."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from copy import deepcopy
from functools import partial
from typing import Any

from lima2_bliss.client.acquisition import Acquisition
from lima2_bliss.client.concurrency import concurrently_within, start
from lima2_bliss.client.devices import Devices
from lima2_bliss.client.errors_by_device import raise_failures
from lima2_bliss.client.parameter_trees import (
    for_detector,
    refuse_shared_files,
    resolve_saving,
    with_block,
    with_shared_counts,
)
from lima2_bliss.client.preparation import look, prepare_devices, repair, settled, write_parameters
from lima2_bliss.client.readiness import when_ready
from lima2_bliss.client.receiver_link import ReceiverLink
from lima2_bliss.client.sources import FRAME, enabled_savings
from lima2_bliss.client.status import DetectorState
from lima2_bliss.client.tango_link import DEFAULT_TIMEOUT_S, DeviceLink, ProxyFactory, on_each
from lima2_bliss.client.watch import Patience
from lima2_bliss.contract import (
    AcqState,
    NotAvailableError,
    ParameterError,
    SystemState,
    system_state,
)
from lima2_bliss.contract.access import AttachJob
from lima2_bliss.contract.states import state_from_tango

logger = logging.getLogger(__name__)


class Detector:
    """A detector by the names of its Tango devices; receivers in rank order.

    ``access`` is the image device (live images for Lima clients, master files); without it there are no master files.
    ``keep_pipelines`` past acquisitions, the present one included, stay readable on the receivers. With
    ``processing_devices`` each has its Tango processing devices for LImA2's own clients; this one needs none.
    """

    def __init__(
        self,
        control: str,
        receivers: Sequence[str],
        access: str | None = None,
        *,
        proxy: ProxyFactory | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        keep_pipelines: int = 2,
        processing_devices: bool = False,
        patience: Patience = Patience(),
    ) -> None:
        if not receivers:
            raise ParameterError(f"detector {control} has no receivers; give the name of at least one receiver device")
        if len(set(receivers)) < len(receivers):
            raise ParameterError(f"detector {control}: a receiver is named twice in {', '.join(receivers)}")
        if keep_pipelines < 1:
            raise ParameterError(f"keep_pipelines = {keep_pipelines}; at least 1, the present one, is kept")
        self.keep_pipelines = keep_pipelines
        self.processing_devices = processing_devices
        self._patience = patience
        self._control = DeviceLink(control, timeout_s, proxy)
        self._receivers = [DeviceLink(name, timeout_s, proxy) for name in receivers]
        self._access = None if access is None else DeviceLink(access, timeout_s, proxy)
        self._links: dict[str, ReceiverLink] = {}

    @property
    def control_name(self) -> str:
        return self._control.name

    @property
    def receiver_names(self) -> list[str]:
        """Device names in rank order."""
        return [device.name for device in self._receivers]

    @property
    def access_name(self) -> str | None:
        return None if self._access is None else self._access.name

    def endpoints(self) -> list[str]:
        """Addresses of the receivers' access servers now, in rank order."""
        outcomes = on_each(self._receivers, lambda device: device.read_here("access_endpoint")[0])
        raise_failures(outcomes, "asking for the address")
        return [str(outcomes[device.name].get()) for device in self._receivers]

    # --- what it is -----------------------------------------------------------------------------------------------

    def info(self) -> dict[str, Any]:
        """``plugin``, ``model``, ``sn``, ``pixel_size`` [m], ``dimensions`` [px]."""
        return self._json("det_info")

    def status(self) -> dict[str, Any]:
        """``state`` of the detector hardware, and values such as ``temperature`` [degC]."""
        return self._json("det_status")

    def capabilities(self) -> dict[str, Any]:
        """``trigger_modes``, ``expo_time_range`` and ``latency_time_range`` [ns], ``nb_frames_per_trigger_range``."""
        return self._json("det_capabilities")

    @property
    def version(self) -> str:
        """Version of the detector plugin."""
        return str(self._control.read("version")[0])

    @property
    def nb_frames_acquired(self) -> int:
        """Frames exposed so far in the present acquisition, whole system."""
        return int(self._control.read("nb_frames_acquired")[0])

    def states(self) -> DetectorState:
        """State of every device at this moment; OFFLINE for those that do not answer in time."""
        devices = (self._control, *self._receivers)
        asked = {device.name: partial(_state, device) for device in devices}
        outcomes = concurrently_within(self._control.timeout_s, asked)
        states = [
            AcqState.OFFLINE if outcomes[device.name].error else outcomes[device.name].get() for device in devices
        ]
        return DetectorState(states[0], tuple(states[1:]))

    def state(self) -> SystemState:
        """State of the detector as a whole."""
        states = self.states()
        return system_state([states.control, *states.receivers])

    def default_parameters(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """(acquisition, processing) parameters with every value at its default, for the first pipeline offered."""
        defaults = self._defaults()
        return defaults["acquisition"], next(iter(defaults["processing"].values()))

    def pipelines_offered(self) -> dict[str, dict[str, Any]]:
        """Default processing parameters of each pipeline, by ``class_name``."""
        return dict(self._defaults()["processing"])

    def command(self, name: str, argument: Any = None) -> Any:
        """Run a command of the detector's own; argument and result are plain values."""
        reply = self._control.call("detectorCommand", [name, json.dumps(argument)])
        return json.loads(reply)

    # --- acquisitions ---------------------------------------------------------------------------------------------

    def prepare(self, acquisition: dict[str, Any], processing: dict[str, Any] | None = None) -> Acquisition:
        """Check all devices and parameters, and prepare an acquisition.

        Keys that are left out have their defaults; numbers of frames are those of the whole detector. Nothing has
        started when an error is raised: `ConnectionLostError` lists every device that does not answer,
        `ParameterError` names every fault, `StateError` says what runs. Devices left in fault by an earlier
        acquisition are reset first (see `Acquisition.recovered`); devices that need a moment are asked again.
        """
        return when_ready(lambda: self._prepare(acquisition, processing))

    def _prepare(self, acquisition: dict[str, Any], processing: dict[str, Any] | None) -> Acquisition:
        acquisition = deepcopy(acquisition)
        snapshot = look(self._control, self._receivers, self._access)
        if processing is None:
            processing = self.default_parameters()[1]
        snapshot = settled(snapshot, self._receivers)
        recovered = repair(snapshot, self._control, self._receivers)
        processing = resolve_saving(with_shared_counts(processing), self._receivers)
        acquisition = with_block(acquisition, processing)
        write_parameters(self._control, self._receivers, acquisition, processing)
        refuse_shared_files(processing)
        uuid = prepare_devices(self._control, self._receivers, snapshot, self.keep_pipelines, self.processing_devices)
        prepared = Acquisition(
            uuid,
            self._devices([each.endpoint for each in snapshot.receivers], [each.pid for each in snapshot.receivers]),
            acquisition,
            processing,
            recovered=recovered,
            patience=self._patience,
        )
        try:
            attaching = None if self._access is None else start(partial(attach, self._access, prepared))
            prepared.status()
            if attaching is not None:
                raise_failures({str(self.access_name): attaching.outcome()}, "showing the acquisition")
        except Exception:
            self.reset()
            raise
        return prepared

    def acquisition(self, uuid: str = "") -> Acquisition:
        """An acquisition that the receivers still have; without ``uuid`` the newest."""
        snapshot = look(self._control, self._receivers, self._access)
        if not uuid:
            if not snapshot.receivers[0].pipelines:
                raise NotAvailableError("there is no acquisition yet; prepare() one")
            uuid = snapshot.receivers[0].pipelines[-1]
        lacking = [
            d.name for d, each in zip(self._receivers, snapshot.receivers, strict=True) if uuid not in each.pipelines
        ]
        if lacking:
            there = ", ".join(snapshot.receivers[0].pipelines) or "none"
            raise NotAvailableError(f"acquisition {uuid} is not on {', '.join(lacking)}; there are: {there}")
        described = json.loads(self._receivers[0].call("pipelineParameters", uuid))
        devices = self._devices(
            [each.endpoint for each in snapshot.receivers], [each.pid for each in snapshot.receivers]
        )
        processing = for_detector(described["processing"], len(self._receivers))
        found = Acquisition(uuid, devices, described["acquisition"], processing, patience=self._patience)
        found.status()
        return found

    def erase(self, uuid: str) -> None:
        """Have all receivers forget an acquisition that has ended."""
        raise_failures(on_each(self._receivers, lambda device: device.call_here("erasePipeline", uuid)), "erase")

    def stop(self) -> None:
        """End whatever runs."""
        devices = (self._control, *self._receivers)
        raise_failures(on_each(devices, lambda device: device.call_here("Stop")), "stop")

    def reset(self) -> None:
        """Bring all devices back to IDLE, whatever they do; a running acquisition is aborted."""
        devices = (self._control, *self._receivers)
        raise_failures(on_each(devices, lambda device: device.call_here("Reset")), "reset")

    def recover(self) -> list[str]:
        """Reset the devices that a failed acquisition left in fault; sentences that say what was done."""
        snapshot = look(self._control, self._receivers, self._access)
        return repair(snapshot, self._control, self._receivers)

    def close(self) -> None:
        """Close the sockets to the receivers."""
        for link in self._links.values():
            link.close()
        self._links.clear()

    # --- parts ----------------------------------------------------------------------------------------------------

    def _devices(self, endpoints: Sequence[str], pids: Sequence[int]) -> Devices:
        links = []
        for device, endpoint in zip(self._receivers, endpoints, strict=True):
            link = self._links.get(device.name)
            if link is None or link.endpoint != endpoint:
                link = self._links[device.name] = ReceiverLink(device.name, endpoint)
            links.append(link)
        return Devices(self._control, self._receivers, links, list(pids), self._access)

    def _defaults(self) -> dict[str, Any]:
        return json.loads(self._receivers[0].read("default_parameters")[0])

    def _json(self, attribute: str) -> dict[str, Any]:
        return json.loads(self._control.read(attribute)[0])


def _state(device: DeviceLink) -> AcqState:
    return state_from_tango(str(device.read_here("State")[0]))


def attach(access: DeviceLink, shown: Acquisition) -> None:
    """Have the access device show the frames of an acquisition."""
    job = AttachJob(
        uuid=shown.uuid,
        endpoints=shown.endpoints(),
        nb_frames=shown.nb_frames,
        saving=enabled_savings(shown.processing_parameters).get(FRAME),
    )
    access.call_here("Attach", job.model_dump_json())
