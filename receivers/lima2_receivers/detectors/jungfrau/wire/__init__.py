"""The wire of a Jungfrau, simulated: datagrams as its modules send them, with faults that are counted exactly."""

from lima2_receivers.detectors.jungfrau.wire.content import (
    PHOTON_KEV,
    Content,
    Gaps,
    bragg_images,
    bragg_parameters,
    cut_modules,
    dark_content,
    pattern_content,
    photon_content,
)
from lima2_receivers.detectors.jungfrau.wire.datagrams import Exposure, frame_datagrams
from lima2_receivers.detectors.jungfrau.wire.faults import Faults, PacketAddress
from lima2_receivers.detectors.jungfrau.wire.layout import Order, WireLayout, parse_addresses
from lima2_receivers.detectors.jungfrau.wire.pixels import (
    Sensor,
    documented_pattern,
    encode,
    read_stamps,
    typical_sensor,
)
from lima2_receivers.detectors.jungfrau.wire.raw_replay import Playing, RawReplayReport, replay_raw
from lima2_receivers.detectors.jungfrau.wire.replay import Recording, ReplayReport, load_recording, replay
from lima2_receivers.detectors.jungfrau.wire.report import COUNTS, EVENT, EXTRA, MISSING, Fate, Report
from lima2_receivers.detectors.jungfrau.wire.sender import Method
from lima2_receivers.detectors.jungfrau.wire.simulator import WireSimulator

__all__ = [
    # the detector
    "Method",
    "Order",
    "WireLayout",
    "WireSimulator",
    "parse_addresses",
    # what its frames show
    "PHOTON_KEV",
    "Content",
    "Exposure",
    "Gaps",
    "Sensor",
    "bragg_images",
    "bragg_parameters",
    "cut_modules",
    "dark_content",
    "documented_pattern",
    "encode",
    "frame_datagrams",
    "pattern_content",
    "photon_content",
    "read_stamps",
    "typical_sensor",
    # what goes wrong, and what was sent
    "COUNTS",
    "EVENT",
    "EXTRA",
    "Fate",
    "Faults",
    "MISSING",
    "PacketAddress",
    "Report",
    # recordings
    "Playing",
    "RawReplayReport",
    "Recording",
    "ReplayReport",
    "load_recording",
    "replay",
    "replay_raw",
]
