"""What LImA2's conductor does to our devices, step by step."""

from __future__ import annotations

import json
import time
import uuid as uuids
from typing import Any

import tango
from tango_bench import TangoBench, until

IDLE, PREPARED, RUNNING, FAULT = 0, 1, 2, 4


class Conductor:
    """Drives control and two receivers as the conductor would; remembers the uuid."""

    def __init__(self, bench: TangoBench) -> None:
        self.host = bench.host
        self.control = self.device("id00/limacontrol/sim")
        self.receivers = [self.device(f"id00/limareceiver/sim{number}") for number in (1, 2)]
        self.uuid = ""

    def device(self, name: str) -> tango.DeviceProxy:
        return tango.DeviceProxy(f"tango://{self.host}/{name}")

    def default_parameters(self) -> tuple[dict[str, Any], dict[str, Any]]:
        defaults = json.loads(self.receivers[0].default_parameters)
        return defaults["acquisition"], defaults["processing"]["LimaProcessingLegacy"]

    def prepare(self, acquisition: dict[str, Any] | None = None, processing: dict[str, Any] | None = None) -> None:
        """Default parameters with these sections changed."""
        acq, proc = self.default_parameters()
        acq["acq"] |= {"expo_time": 1000, "latency_time": 0}
        for section, values in (acquisition or {}).items():
            acq[section] |= values
        for section, values in (processing or {}).items():
            proc[section] |= values
        self.uuid = str(uuids.uuid1())
        self.control.write_attribute("acq_params", json.dumps(acq).encode())
        self.control.Prepare(self.uuid)
        for rank, receiver in enumerate(self.receivers):
            proc["saving"]["filename_rank"] = rank
            receiver.write_attribute("acq_params", json.dumps(acq).encode())
            receiver.write_attribute("proc_params", json.dumps(proc).encode())
            receiver.Prepare(self.uuid)

    def start(self) -> None:
        for device in (*self.receivers, self.control):
            device.Start()

    def processing(self, rank: int) -> tango.DeviceProxy:
        return self.device(f"id00/limaprocessing/{self.uuid}@{rank}")

    def counters(self, rank: int) -> dict[str, int]:
        return json.loads(self.processing(rank).progress_counters)

    def until_finished(self, timeout_s: float = 10.0) -> None:
        for rank in range(2):
            until(lambda rank=rank: self.processing(rank).is_finished, timeout_s, f"end on receiver {rank}")
        self.control.Close()

    def reset(self) -> None:
        for device in (self.control, *self.receivers):
            device.Reset()
        until(lambda: all(int(d.acq_state) == IDLE for d in (self.control, *self.receivers)), 2.0, "idle")


def error_json(failure: tango.DevFailed) -> dict[str, Any]:
    """What LImA2's client decodes: it does so only when there are exactly two stacked errors."""
    assert len(failure.args) == 2, [entry.reason for entry in failure.args]
    assert failure.args[0].reason == "LIMA_Exception"
    return json.loads(failure.args[0].desc)


def seen_states(device: tango.DeviceProxy, seconds: float, every_s: float = 0.05) -> list[int]:
    """What a client sees that polls."""
    states = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        states.append(int(device.acq_state))
        time.sleep(every_s)
    return states
