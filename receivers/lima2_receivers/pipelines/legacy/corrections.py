"""The correction maps of an acquisition, cut to the window of the raw frame that is needed."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from lima2_receivers.engine.plugin import PipelineSetup
from lima2_receivers.kernels import gain_of, sum_dtype, transform_frame
from lima2_receivers.kernels.correction import usable
from lima2_receivers.pipelines.legacy.plan import Plan
from lima2_receivers.pipelines.maps import load_map, map_version, mask_key

#: Sets of maps kept ready for the next prepare.
KEPT_SETS = 2

MAPS = ("mask", "background", "flatfield")


@dataclass(frozen=True)
class Corrections:
    """Maps (1 or channels, height, width) as the kernels take them; None where there is none. Nobody writes to them.

    ``masked`` is True where the mask is not 0, the flat field is not a positive number or the dark is not finite: such
    pixels of the window become 0 and do not count in statistics and profiles. ``valid`` is True for image pixels that
    measured something: at least one of their binned raw pixels is not masked, and none of them by the detector itself
    (those keep what the detector gives there, a sum with them has no value).
    """

    dark: np.ndarray | None
    gain: np.ndarray | None
    masked: np.ndarray | None
    valid: np.ndarray | None


_kept: OrderedDict[tuple, Corrections] = OrderedDict()
_lock = threading.Lock()


def load_mask(setup: PipelineSetup) -> np.ndarray | None:
    """The mask of the whole raw frame, True where masked (map value not 0, or not a number)."""
    mask = setup.processing.mask
    return load_map(mask.path, setup.input, "mask") != 0 if mask.enabled else None


def load_corrections(setup: PipelineSetup, plan: Plan) -> Corrections:
    """Read the maps that are enabled; `ParameterError` when one cannot be used. Maps of the last prepares are kept."""
    sources = {name: getattr(setup.processing, name) for name in MAPS}
    versions = tuple(map_version(source.path, name) if source.enabled else None for name, source in sources.items())
    if not any(versions) and setup.masked is None:
        return Corrections(None, None, None, None)
    own = mask_key(setup.masked)
    key = (versions, setup.input.shape, plan.window, plan.corrected.dtype, plan.transform, own)
    with _lock:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key]
    made = _make(setup, plan)
    with _lock:
        _kept[key] = made
        while len(_kept) > KEPT_SETS:
            _kept.popitem(last=False)
    return made


def _make(setup: PipelineSetup, plan: Plan) -> Corrections:
    processing = setup.processing
    x, y, columns, rows = plan.window
    dtype = plan.corrected.dtype
    masks: list[np.ndarray] = []

    def window(source: str, what: str) -> np.ndarray:
        return load_map(source, setup.input, what)[:, y : y + rows, x : x + columns]

    if processing.mask.enabled:
        masks.append(window(processing.mask.path, "mask") != 0)
    dark = flat = None
    if processing.background.enabled:
        dark = np.array(window(processing.background.path, "background"), dtype, order="C")
        _add_bad(masks, np.isfinite(dark))
    if processing.flatfield.enabled:
        flat = np.array(window(processing.flatfield.path, "flatfield"), dtype, order="C")
        _add_bad(masks, usable(flat))
    masked = np.logical_or.reduce(np.broadcast_arrays(*masks)) if masks else None
    scaling = flat is not None or (dark is not None and masked is not None)
    gain = gain_of(flat, masked, dtype) if scaling else None
    return Corrections(dark, gain, masked, _valid(setup, masked, plan))


def _add_bad(masks: list[np.ndarray], good: np.ndarray) -> None:
    if not good.all():
        masks.append(~good)


def _valid(setup: PipelineSetup, masked: np.ndarray | None, plan: Plan) -> np.ndarray | None:
    """Image pixels that count; None for all."""
    valid = None
    if masked is not None:
        valid = _binned(~masked, plan) > 0
    if setup.masked is not None:
        x, y, columns, rows = plan.window
        whole = _binned(setup.masked[None, y : y + rows, x : x + columns], plan) == 0
        valid = whole if valid is None else valid & whole
    return valid


def _binned(flags: np.ndarray, plan: Plan) -> np.ndarray:
    """How many of the raw pixels of each image pixel are True."""
    bins = plan.transform.binning
    count = np.empty((len(flags), plan.image.height, plan.image.width), sum_dtype(np.dtype("u1"), bins[0] * bins[1]))
    transform_frame(np.ascontiguousarray(flags, np.uint8), (0, 0), bins, plan.placement, count)
    return count
