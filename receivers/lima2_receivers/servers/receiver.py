"""``lima2-receiver INSTANCE``: the Tango server of a receiver."""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import threading
from collections.abc import Sequence
from typing import ClassVar

import tango
from tango.server import attribute, command

from lima2_bliss.contract import ParameterError
from lima2_bliss.contract.parameters import Saving, parse
from lima2_receivers.access.server import AccessServer
from lima2_receivers.engine.overview import receiver_overview
from lima2_receivers.engine.plugin import DetectorPlugin, PipelineClass, SourceContext
from lima2_receivers.engine.receiver import ReceiverEngine
from lima2_receivers.engine.registry import load_detector, load_pipelines
from lima2_receivers.pipelines.maps import describe_map
from lima2_receivers.saving import make_writer, resolve_prefix
from lima2_receivers.servers.acquisition_device import AcquisitionDevice, software_version
from lima2_receivers.servers.given_parameters import GivenParameters
from lima2_receivers.servers.instance import Instance, check_class, find_instance, run_main, serve
from lima2_receivers.servers.kernel_cache import warm_up_in_turn
from lima2_receivers.servers.log_level import log_to_stderr
from lima2_receivers.servers.processing_classes import processing_class
from lima2_receivers.servers.processing_devices import ProcessingDevices
from lima2_receivers.servers.schemas import ACQ_PARAMS, PROC_PARAMS, publish_schema, publish_version
from lima2_receivers.servers.shown_state import ShownState
from lima2_receivers.servers.tango_errors import beside_others, json_text, speaks_tango

logger = logging.getLogger(__name__)

SERVER = "lima2_receiver"

#: Threads that only wait for the interpreter get it sooner than by default (5 ms).
SWITCH_INTERVAL_S = 0.0005


class ReceiverDevice(AcquisitionDevice):
    """Takes frames in and feeds the pipeline of each acquisition."""

    engine: ClassVar[ReceiverEngine]
    access: ClassVar[AccessServer]
    devices: ClassVar[ProcessingDevices]
    given: ClassVar[GivenParameters]

    def end(self) -> None:
        """Files are completed and closed."""
        end(type(self))

    # --- parameters -------------------------------------------------------------------------------------------------

    @attribute(dtype=str, access=tango.AttrWriteType.READ_WRITE, doc="JSON acquisition parameters")
    @speaks_tango
    def acq_params(self) -> str:
        return self.given.acquisition.model_dump_json()

    @acq_params.write  # type: ignore[no-redef]
    @speaks_tango
    def acq_params(self, text: str) -> None:
        self.given.give_acquisition(json_text(text))

    @attribute(dtype=str, access=tango.AttrWriteType.READ_WRITE, doc="JSON processing parameters")
    @speaks_tango
    def proc_params(self) -> str:
        return self.given.processing.model_dump_json()

    @proc_params.write  # type: ignore[no-redef]
    @speaks_tango
    def proc_params(self, text: str) -> None:
        self.given.give_processing(json_text(text))

    @attribute(dtype=str, doc="JSON: default acquisition parameters, and those of each pipeline by class name")
    @speaks_tango
    def default_parameters(self) -> str:
        processing = {
            name: pipeline.parameters().model_dump(mode="json")
            for name, pipeline in self.engine.pipeline_classes.items()
        }
        acquisition = self.engine.plugin.parameters().model_dump(mode="json")
        return json.dumps({"acquisition": acquisition, "processing": processing})

    # --- what it is and does -----------------------------------------------------------------------------------------

    @attribute(dtype=str, doc="version of lima2-bliss")
    @speaks_tango
    def version(self) -> str:
        return software_version()

    @attribute(dtype="DevLong", doc="place of this receiver, from 0")
    @speaks_tango
    def rank(self) -> int:
        return self.engine.rank

    @attribute(dtype="DevLong", doc="receivers of this detector")
    @speaks_tango
    def nb_receivers(self) -> int:
        return self.engine.nb_receivers

    @attribute(dtype="DevLong", doc="frames received in the current acquisition")
    @speaks_tango
    def nb_frames_xferred(self) -> int:
        return self.engine.nb_frames_xferred

    @attribute(dtype=(str,), max_dim_x=4096, doc="uuids of the acquisitions that can be read, oldest first")
    @speaks_tango
    def pipelines(self) -> list[str]:
        return list(self.engine.pipelines)

    @attribute(dtype=(str,), max_dim_x=4096, doc="state of each: prepared, running, finished, failed")
    @speaks_tango
    def pipeline_states(self) -> list[str]:
        return [run.status().state for run in self.engine.pipelines.values()]

    @attribute(dtype=str, doc="address of the access server")
    @speaks_tango
    def access_endpoint(self) -> str:
        return self.access.endpoint

    @attribute(dtype=str, doc="JSON: addresses where the detector's control reaches this receiver")
    @speaks_tango
    def source_endpoints(self) -> str:
        return json.dumps(self.engine.source_endpoints())

    @attribute(dtype=str, doc="JSON: host, pid, addresses, memory for frames, and the acquisitions with their counts")
    @speaks_tango
    def overview(self) -> str:
        return receiver_overview(self.engine, socket.gethostname(), os.getpid(), self.access.endpoint).model_dump_json()

    # --- commands -------------------------------------------------------------------------------------------------

    def require_accepted(self) -> None:
        self.given.require_accepted()

    def prepare(self, uuid: str) -> None:
        """Make the pipeline and its processing device."""
        uuid = uuid.lower()
        self.engine.prepare(uuid)
        try:
            self.devices.make(self.engine.pipeline(uuid))
        except Exception:
            self.engine.erase(uuid)
            raise

    @speaks_tango
    def is_prepareWithoutDevice_allowed(self) -> bool:
        return self.is_Prepare_allowed()

    @command(dtype_in=str, doc_in="uuid of the acquisition")
    @speaks_tango
    @beside_others
    def prepareWithoutDevice(self, uuid: str) -> None:
        """As Prepare for clients that read by ZeroMQ: no processing device, which costs a change of the database."""
        self.engine.prepare(uuid.lower())

    @command(dtype_in=str, doc_in="uuid")
    @speaks_tango
    @beside_others
    def erasePipeline(self, uuid: str) -> None:
        self.engine.erase(uuid)

    @command(dtype_in=str, dtype_out=str, doc_in="uuid", doc_out="JSON: parameters of that acquisition")
    @speaks_tango
    @beside_others
    def pipelineParameters(self, uuid: str) -> str:
        setup = self.engine.pipeline(uuid).setup
        return json.dumps(
            {
                "uuid": setup.uuid,
                "acquisition": setup.acquisition.model_dump(mode="json"),
                "processing": setup.processing.model_dump(mode="json"),
            }
        )

    @command(dtype_in=str, dtype_out=str, doc_in="JSON {saving, ranks}", doc_out="JSON: the saving that all use")
    @speaks_tango
    @beside_others
    def resolveSaving(self, question: str) -> str:
        asked = json.loads(json_text(question))
        saving = parse(Saving, asked["saving"], "saving parameters")
        return json.dumps(resolve_prefix(saving, asked["ranks"]).model_dump(mode="json"))

    @command(dtype_in=str, dtype_out=str, doc_in="JSON {path}", doc_out="JSON: shape, dtype, nonzero, size")
    @speaks_tango
    @beside_others
    def describeMap(self, question: str) -> str:
        """Look at the file of a mask, dark or flat field as the pipelines would read it."""
        return describe_map(str(json.loads(json_text(question))["path"]), "map").model_dump_json()


_ending = threading.Lock()
_ended: set[str] = set()


def end(device_class: type[ReceiverDevice]) -> None:
    """Stop serving frames, then complete and close all files. Harmless twice."""
    with _ending:
        if device_class.__name__ in _ended:
            return
        _ended.add(device_class.__name__)
    device_class.access.close()
    device_class.engine.close()
    device_class.devices.end()


def device_class(plugin: DetectorPlugin) -> type[ReceiverDevice]:
    """The Tango class of this detector's receivers."""
    return type(f"Lima{plugin.name}Receiver", (ReceiverDevice,), {"__doc__": f"Receiver of {plugin.name}."})


def start_engine(instance: Instance, plugin: DetectorPlugin, pipelines: dict[str, PipelineClass]) -> ReceiverEngine:
    """The engine that the instance's properties describe."""
    budget_mb = instance.number("memory_budget_mb", 0)
    rank, nb_receivers = instance.number("rank", 0), instance.number("nb_receivers", 1)
    if not 0 <= rank < nb_receivers:
        raise ParameterError(f"device {instance.device}: rank = {rank} is not below nb_receivers = {nb_receivers}")
    context = SourceContext(instance.device, instance.plain(), instance.text("bind_address", "127.0.0.1"))
    return ReceiverEngine(
        instance.device,
        plugin,
        pipelines,
        make_writer,
        rank,
        nb_receivers,
        context,
        memory_budget_bytes=budget_mb << 20 if budget_mb else None,
    )


def serve_receiver(name: str, arguments: Sequence[str] = ()) -> None:
    """Serve receiver instance ``name`` until the process is told to end."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    pipelines = load_pipelines()
    instance = find_instance(SERVER, name, run_time_classes=list(pipelines))
    log_to_stderr(instance.device)
    detector = instance.text("detector")
    warming = threading.Thread(target=warm_up_in_turn, args=[detector], name="warm-up", daemon=True)
    warming.start()
    plugin = load_detector(detector)
    cls = device_class(plugin)
    check_class(instance, cls.__name__)
    publish_schema(instance.database, cls.__name__, ACQ_PARAMS, plugin.parameters)
    for tango_class, pipeline in pipelines.items():
        publish_schema(instance.database, tango_class, PROC_PARAMS, pipeline.parameters)
        publish_version(instance.database, tango_class, pipeline.version)
    cls.engine = start_engine(instance, plugin, pipelines)
    cls.shown = ShownState()
    cls.engine.subscribe_state(cls.shown.follow)
    cls.given = GivenParameters(cls.engine)
    cls.devices = ProcessingDevices(instance.domain, cls.engine.rank, wanted=instance.flag("processing_devices", True))
    cls.engine.on_erased(cls.devices.remove)
    cls.access = AccessServer(
        cls.engine,
        device=instance.device,
        rank=cls.engine.rank,
        nb_receivers=cls.engine.nb_receivers,
        bind_address=instance.text("bind_address", "127.0.0.1"),
        port=instance.number("access_port", 0),
    )
    warming.join()
    try:
        serve(instance, [cls, *map(processing_class, pipelines)], arguments)
    finally:
        end(cls)


def main() -> None:
    """Entry point of ``lima2-receiver``."""
    run_main(SERVER, serve_receiver)
