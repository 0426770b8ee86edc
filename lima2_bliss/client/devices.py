"""The devices that take part in an acquisition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lima2_bliss.client.receiver_link import ReceiverLink
from lima2_bliss.client.tango_link import DeviceLink


@dataclass(frozen=True)
class Devices:
    """The devices of a detector during one acquisition; receivers, their addresses and process ids in rank order."""

    control: DeviceLink
    receivers: Sequence[DeviceLink]
    links: Sequence[ReceiverLink]
    pids: Sequence[int]
    access: DeviceLink | None = None
