"""What the headers of a frame's packets say about how it was taken."""

from __future__ import annotations

import numpy as np

from lima2_bliss.contract import FrameMeta
from lima2_receivers.detectors.jungfrau.packets import (
    DAQ_FIX_G1,
    DAQ_FIX_G2,
    DAQ_FORCE_G1,
    DAQ_FORCE_G2,
    DAQ_HIGH_GAIN,
)
from lima2_receivers.detectors.jungfrau.raw_frames import PACKET_HEADERS, PACKETS

#: Bits of ``daq_info`` that decide what a pixel's value means.
MODE_BITS = DAQ_HIGH_GAIN | DAQ_FIX_G1 | DAQ_FIX_G2 | DAQ_FORCE_G1 | DAQ_FORCE_G2


def headers_of(meta: FrameMeta) -> np.ndarray | None:
    """Headers of the ports that gave packets (`packets.HEADER`, in order of the ports); None where none are known."""
    if meta.extras is None:
        return None
    headers: np.ndarray = meta.extras[PACKET_HEADERS][meta.extras[PACKETS] > 0]
    return headers if headers.size else None


def modes_of(meta: FrameMeta) -> set[int]:
    """The different `MODE_BITS` of the ports: one value in a good frame; empty where no headers are known."""
    headers = headers_of(meta)
    return set() if headers is None else {int(daq) & MODE_BITS for daq in headers["daq_info"]}


def module_ids_of(meta: FrameMeta, modules: int) -> tuple[int, ...]:
    """Id of each module of a complete frame; empty where no headers are known, or ports of a module disagree."""
    headers = headers_of(meta)
    if headers is None or headers.size % modules:
        return ()
    ids = headers["module_id"].reshape(modules, -1)
    return tuple(int(number) for number in ids[:, 0]) if (ids == ids[:, :1]).all() else ()
