"""Which Ethernet address a receiver's interface has: modules of the detector put it into their datagrams."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from pathlib import Path

import psutil

from lima2_bliss.contract import ParameterError

_ARP = Path("/proc/net/arp")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_NONE = "00:00:00:00:00:00"


def known_macs(text: str) -> dict[str, str]:
    """Ethernet addresses by IPv4 address, from the property `udp_mac`: ``IP=MAC`` in lines or with commas between."""
    found = {}
    for entry in re.split(r"[\s,]+", text.strip()):
        if entry:
            address, equals, mac = entry.partition("=")
            if not equals or not _MAC.fullmatch(mac.lower()):
                raise ParameterError(
                    f"property udp_mac: {entry!r} is not IP=MAC, such as 10.1.1.5=00:11:22:33:44:55, one for each "
                    "address that receivers listen on"
                )
            found[address] = mac.lower()
    return found


def mac_of(address: str, known: Mapping[str, str]) -> str:
    """Ethernet address of an IPv4 address: a ``known`` one, of an interface of this host, or of a neighbour of it."""
    for found in (known.get(address), _own(address), _neighbour(address)):
        if found and found != _NONE:
            return found
    raise ParameterError(
        f"the Ethernet address of {address} is not known, which a receiver listens on: name it in the control's "
        f"property udp_mac as {address}=00:11:22:33:44:55 (`ip -brief link` on that host lists them)"
    )


def _own(address: str) -> str:
    for addresses in psutil.net_if_addrs().values():
        if any(each.family is socket.AF_INET and each.address == address for each in addresses):
            return next((each.address.lower() for each in addresses if each.family == psutil.AF_LINK), "")
    return ""


def _neighbour(address: str) -> str:
    try:
        lines = _ARP.read_text().splitlines()[1:]
    except OSError:
        return ""
    fields = (line.split() for line in lines)
    return next((each[3].lower() for each in fields if len(each) > 3 and each[0] == address), "")
