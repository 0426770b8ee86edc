"""What the receivers hold, asked of all at once; one that is silent does not keep the others from answering."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TypeVar

from lima2_bliss.client.concurrency import Outcome, concurrently_within
from lima2_bliss.client.errors_by_device import as_contract_error, raise_failures
from lima2_bliss.client.tango_link import DeviceLink, ProxyFactory
from lima2_bliss.contract import Lima2Error
from lima2_bliss.contract.overview import MapDescription, ReceiverOverview

#: How long receivers may take to answer [s]. Tango's own limit does not do: it waited 20 s for a process that hung.
ANSWER_S = 3.0
#: The same for a command that reads a file or frees memory.
COMMAND_S = 10.0

Overviews = Mapping[str, ReceiverOverview | Lima2Error]

Value = TypeVar("Value")


class Receivers:
    """The receivers of a detector by device name, in rank order. Every call ends within ``answer_s``, ``command_s``."""

    def __init__(
        self,
        names: Sequence[str],
        answer_s: float = ANSWER_S,
        command_s: float = COMMAND_S,
        proxy: ProxyFactory | None = None,
    ) -> None:
        self._answer_s = answer_s
        self._command_s = command_s
        self._devices = [DeviceLink(name, command_s, proxy) for name in names]

    def overviews(self) -> Overviews:
        """What each receiver holds, by device name; the error of one that does not answer in its place."""
        outcomes = _on_each(self._answer_s, self._devices, _overview)
        return {
            name: outcome.get() if outcome.error is None else as_contract_error(name, outcome.error)
            for name, outcome in outcomes.items()
        }

    def erase(self, uuid: str, names: Collection[str]) -> None:
        """Have the receivers called ``names`` forget an acquisition that has ended."""
        devices = [device for device in self._devices if device.name in names]
        outcomes = _on_each(self._command_s, devices, lambda device: device.call_here("erasePipeline", uuid))
        raise_failures(outcomes, "erase")

    def describe_map(self, path: str) -> MapDescription:
        """A correction map as the first receiver reads it; `ParameterError` says why it cannot be used."""
        first = self._devices[0]
        question = json.dumps({"path": path})
        outcomes = _on_each(self._command_s, [first], lambda device: device.call_here("describeMap", question))
        return MapDescription.model_validate_json(outcomes[first.name].get())


def _on_each(
    limit_s: float, devices: Sequence[DeviceLink], ask: Callable[[DeviceLink], Value]
) -> dict[str, Outcome[Value]]:
    return concurrently_within(limit_s, {device.name: partial(ask, device) for device in devices})


def _overview(device: DeviceLink) -> ReceiverOverview:
    return ReceiverOverview.model_validate_json(device.read_here("overview")[0])
