"""A device that ends in the middle of a call is named, whatever Tango makes of it."""

from __future__ import annotations

from typing import Any

import pytest
import tango

from lima2_bliss.client.tango_link import DeviceLink
from lima2_bliss.contract import ConnectionLostError


class Ending:
    """A proxy of a device that ends before an attribute is written: Tango then finds no type of the attribute."""

    gone = False

    def ping(self) -> None:
        if self.gone:
            entry = tango.DevError()
            entry.reason, entry.desc, entry.origin = "API_CantConnectToDevice", "Failed to connect", "ping"
            raise tango.DevFailed(entry)

    def set_timeout_millis(self, _: int) -> None:
        """Nothing waits here."""

    def write_attribute(self, _name: str, _value: Any) -> None:
        self.gone = True
        raise TypeError("unsupported data_format.")


def test_a_device_that_ends_while_an_attribute_is_written_is_named() -> None:
    link = DeviceLink("id00/limareceiver/sim1", proxy=lambda _: Ending())
    with pytest.raises(ConnectionLostError, match="id00/limareceiver/sim1 does not answer: its process has ended"):
        link.write_here({"acq_params": "{}"})
