"""What the receivers hold, asked of all at once; one that is silent does not keep the others from answering."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence

from lima2_bliss.client.errors_by_device import as_contract_error, raise_failures
from lima2_bliss.client.tango_link import DeviceLink, ProxyFactory, on_each
from lima2_bliss.contract import Lima2Error
from lima2_bliss.contract.overview import MapDescription, ReceiverOverview

#: How long a receiver may take to answer [s]; connecting to a host that is gone takes Tango up to 3 s.
ANSWER_S = 3.0

Overviews = Mapping[str, ReceiverOverview | Lima2Error]


class Receivers:
    """The receivers of a detector by device name, in rank order. Every call ends within about ``timeout_s``."""

    def __init__(self, names: Sequence[str], timeout_s: float = ANSWER_S, proxy: ProxyFactory | None = None) -> None:
        self._devices = [DeviceLink(name, timeout_s, proxy) for name in names]

    def overviews(self) -> Overviews:
        """What each receiver holds, by device name; the error of one that does not answer in its place."""
        outcomes = on_each(self._devices, _overview)
        return {
            name: outcome.get() if outcome.error is None else as_contract_error(name, outcome.error)
            for name, outcome in outcomes.items()
        }

    def erase(self, uuid: str, names: Collection[str]) -> None:
        """Have the receivers called ``names`` forget an acquisition that has ended."""
        devices = [device for device in self._devices if device.name in names]
        raise_failures(on_each(devices, lambda device: device.call_here("erasePipeline", uuid)), "erase")

    def describe_map(self, path: str) -> MapDescription:
        """A correction map as the first receiver reads it; `ParameterError` says why it cannot be used."""
        reply = self._devices[0].call("describeMap", json.dumps({"path": path}))
        return MapDescription.model_validate_json(reply)


def _overview(device: DeviceLink) -> ReceiverOverview:
    return ReceiverOverview.model_validate_json(device.read_here("overview")[0])
