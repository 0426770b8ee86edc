"""What every simulated frame holds, as a pure function of parameters and frame index."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lima2_bliss.contract import FrameInfo, RoundRobin, dtype_of
from lima2_receivers.detectors.simulator import diffraction, gauss, replay
from lima2_receivers.detectors.simulator.lattice import SPOT
from lima2_receivers.detectors.simulator.params import SimulatorParameters
from lima2_receivers.detectors.simulator.stamp import stamp

MAKERS: dict[str, Callable[[SimulatorParameters, int, np.dtype], np.ndarray]] = {
    "gauss": gauss.make_frame,
    "diffraction": diffraction.make_frame,
    "file": replay.make_frame,
}


@dataclass(frozen=True)
class Content:
    """The frames of some parameters: their shape, how many differ, and a key that is equal for equal pixels."""

    info: FrameInfo
    slots: int
    key: str


@dataclass(frozen=True)
class Truth:
    """What a frame was made of. ``spots``: rows (y, x [px], intensity [counts]), sorted by y then x."""

    hit: bool
    spots: np.ndarray


def describe(parameters: SimulatorParameters) -> Content:
    """The frames that parameters give; `ParameterError` when a file to replay is not fit for it."""
    generator, size = parameters.det.generator, parameters.det.size
    made_of: dict[str, object] = {"type": generator.type}
    if generator.type == "file":
        info, slots = replay.describe(parameters)
        made_of["version"] = replay.version(parameters)
    else:
        info = FrameInfo(generator.nb_channels, size.y, size.x, dtype_of(generator.pixel_type))
        slots = parameters.det.nb_prefetch_frames
        if generator.type == "gauss" and generator.gauss.grow_factor == 0:
            slots = 1
        made_of["seed"] = generator.seed
    made_of["generator"] = getattr(generator, generator.type).model_dump()
    made_of["info"] = info.to_json()
    made_of["slots"] = parameters.det.nb_prefetch_frames
    return Content(info, slots, json.dumps(made_of, sort_keys=True))


def make_frame(parameters: SimulatorParameters, content: Content, slot: int) -> np.ndarray:
    """Pixels of a slot, without stamp."""
    return MAKERS[parameters.det.generator.type](parameters, slot, content.info.dtype)


def slots_of(content: Content, dispatch: RoundRobin, rank: int) -> list[int]:
    """Slots that a receiver replays, in the order in which it first needs them."""
    cycles = content.slots // np.gcd(dispatch.receivers * dispatch.block, content.slots)
    locals_needed = int(cycles) * dispatch.block
    return list(dict.fromkeys(dispatch.global_index(rank, local) % content.slots for local in range(locals_needed)))


def expected_frame(parameters: SimulatorParameters, index: int) -> np.ndarray:
    """Pixels (channels, height, width) of global frame ``index``, bit by bit as receivers deliver it."""
    content = describe(parameters)
    pixels = make_frame(parameters, content, index % content.slots)
    if parameters.det.stamp_frame_number:
        stamp(pixels, index)
    return pixels


def truth(parameters: SimulatorParameters, index: int) -> Truth:
    """Whether global frame ``index`` is a hit, and its spots (of the diffraction generator; else none)."""
    if parameters.det.generator.type != "diffraction":
        return Truth(False, np.zeros(0, SPOT))
    slot = index % describe(parameters).slots
    return Truth(bool(diffraction.hits(parameters)[slot]), diffraction.spots(parameters, slot))
