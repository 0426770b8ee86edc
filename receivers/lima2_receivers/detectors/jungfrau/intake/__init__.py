"""UDP intake of Jungfrau: from datagrams to complete module frames in the places of a ring."""

from lima2_receivers.detectors.jungfrau.intake.config import IntakeConfig, ListenerSettings, PortConfig, module_ports
from lima2_receivers.detectors.jungfrau.intake.counts import Counts, PacketCounts, PortProgress
from lima2_receivers.detectors.jungfrau.intake.frames import Arrived, Buffer, Slot, SlotRing, Target
from lima2_receivers.detectors.jungfrau.intake.receiving import Intake
from lima2_receivers.detectors.jungfrau.intake.sockets import PortTakenError
from lima2_receivers.detectors.jungfrau.intake.warming import warm_up_intake

__all__ = [
    # what is expected
    "IntakeConfig",
    "ListenerSettings",
    "PortConfig",
    "module_ports",
    # receiving
    "Intake",
    "PortTakenError",
    "warm_up_intake",
    # what comes out
    "Arrived",
    "Buffer",
    "Counts",
    "PacketCounts",
    "PortProgress",
    "Slot",
    "SlotRing",
    "Target",
]
