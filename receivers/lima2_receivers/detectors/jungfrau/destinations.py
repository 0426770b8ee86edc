"""Where the receivers are, and the detector's table of where its frames go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lima2_bliss.contract import ParameterError, RoundRobin
from lima2_receivers.detectors.jungfrau.backend import Destination
from lima2_receivers.detectors.jungfrau.messages import ENDPOINT, UDP_ENDPOINT
from lima2_receivers.detectors.jungfrau.params import JungfrauSettings


def addresses_of(receivers: Sequence[Mapping[str, str]], det: JungfrauSettings) -> tuple[list[str], list[Destination]]:
    """Of each receiver (`Source.endpoints`, rank order): the address for messages, and those for packets."""
    links, udp = [], []
    for rank, offered in enumerate(receivers):
        if ENDPOINT not in offered or UDP_ENDPOINT not in offered:
            raise ParameterError(
                f"receiver {rank} is not one of a Jungfrau: it has no endpoints {ENDPOINT!r} and {UDP_ENDPOINT!r}"
            )
        links.append(offered[ENDPOINT])
        udp.append(_parse_udp(offered[UDP_ENDPOINT], det.nb_modules * det.interfaces))
    if not links:
        raise ParameterError("the detector has no receivers; name them in the control's property 'receivers'")
    return links, udp


def _parse_udp(text: str, ports: int) -> Destination:
    """Addresses of all ports, from the endpoint ``HOST:FIRSTPORT`` of a receiver."""
    host, colon, number = text.rpartition(":")
    if not colon or not host or not number.isdecimal() or int(number) + ports - 1 > 65535:
        raise ParameterError(f"UDP endpoint {text!r} of a receiver is not HOST:PORT with {ports} ports from there on")
    return [(host, int(number) + port) for port in range(ports)]


def table_of(receivers: Sequence[Destination], block: int) -> list[Destination]:
    """The detector's table of destinations: ``block`` entries in a row for each receiver."""
    dispatch = RoundRobin(len(receivers), block)
    if len(receivers) == 1:
        return [receivers[0]]
    return [receivers[dispatch.locate(entry)[0]] for entry in range(len(receivers) * block)]
