"""Compares the settings of a grid on frames."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lima2_bliss.contract import FrameInfo, ParameterError
from lima2_bliss.contract.parameters import SmxParameters
from lima2_bliss.contract.parameters.smx import Fai
from lima2_receivers.pipelines.smx.build import make_smx_finder
from lima2_receivers.pipelines.smx.corrections import MAPS
from lima2_receivers.pipelines.smx.tables import CONTENT, READY_ARRAYS, load_tables, table_faults
from lima2_receivers.tuning.frame_stack import FrameStack
from lima2_receivers.tuning.grid import Setting, make_settings, value_of
from lima2_receivers.tuning.measure import FrameFeed, Measured, measure
from lima2_receivers.tuning.report import Row, TuningReport, make_row

#: Frames that are tried unless the user says otherwise: enough for a hit rate to a few percent.
MAX_FRAMES = 1000

#: Frames up to this size together are kept in memory; more are read again for each setting.
CACHE_BYTES = 1 << 30

#: Parameters that change radial bins and corrections, which are slow to make and kept for the last few settings.
GEOMETRY = ("poni_path", *READY_ARRAYS, *MAPS, *CONTENT)


def tune(
    frames: FrameStack | np.ndarray,
    processing: SmxParameters,
    grid: Mapping[str, Sequence[Any]],
    *,
    first: int = 0,
    stop: int | None = None,
    every: int = 1,
    max_frames: int = MAX_FRAMES,
    truth: Sequence[bool] | np.ndarray | None = None,
    cache_bytes: int = CACHE_BYTES,
    cores: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> TuningReport:
    """Find spots with every combination of the values in ``grid``; `ParameterError`, before anything runs, for faults.

    ``frames``: a stack from `open_stack`, or an array (n, height, width). ``grid``: values by parameter name,
    ``{"peaks.cutoff_peak": [3, 4, 5], "min_spots": [5, 10]}``; the last part of a name is enough. All other parameters
    are those of ``processing``; what it saves and publishes plays no role.

    Used are the frames ``first``, ``first + every``, ... before ``stop`` whose flags are good; of more than
    ``max_frames``, so many, evenly spread. ``truth``: for every frame of ``frames``, used or not, whether it is a hit.
    ``cores``: threads, all cores unless given. ``progress`` is called with (settings done, settings).
    """
    stack = frames if isinstance(frames, FrameStack) else FrameStack.from_array(np.asarray(frames))
    cores = cores or len(os.sched_getaffinity(0))
    indices, left_out = _chosen(stack, first, stop, every, max_frames)
    expected = None if truth is None else _checked_truth(truth, len(stack))[indices]
    settings = make_settings(processing, grid)
    _check(settings, stack.info)
    feed = FrameFeed(stack, indices, cache_bytes, cores)
    rows = _rows(settings, stack, feed, cores, expected, progress)
    return TuningReport(
        source=stack.name,
        nb_frames=len(indices),
        nb_in_source=len(stack),
        left_out=left_out,
        shape=stack.info.shape[1:],
        dtype=str(stack.info.dtype),
        cores=cores,
        present={name: value_of(processing, name) for name in settings[0].values},
        rows=rows if expected is None else _marked(rows),
        true_hits=None if expected is None else int(expected.sum()),
    )


def _chosen(
    stack: FrameStack, first: int, stop: int | None, every: int, max_frames: int
) -> tuple[list[int], dict[str, int]]:
    for name, value, least in (("first", first, 0), ("every", every, 1), ("max_frames", max_frames, 1)):
        if value < least:
            raise ParameterError(f"{name} = {value}: at least {least}")
    asked = range(first, len(stack) if stop is None else min(stop, len(stack)), every)
    indices, left_out = stack.good(asked)
    if not indices:
        why = f"; all of them are bad: {left_out}" if left_out else ""
        raise ParameterError(
            f"{stack.name}: no frame to try among {first}:{'' if stop is None else stop}:{every} of {len(stack)}{why}"
        )
    if len(indices) > max_frames:
        spread = np.linspace(0, len(indices) - 1, max_frames).round().astype(int)
        indices = [indices[place] for place in spread]
    return indices, left_out


def _checked_truth(truth: Sequence[bool] | np.ndarray, nb_frames: int) -> np.ndarray:
    values = np.asarray(truth)
    if values.shape != (nb_frames,):
        raise ParameterError(
            f"truth has the shape {values.shape}, but there are {nb_frames} frames; give one value for each, "
            "also for those that are not used"
        )
    if values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all():
        raise ParameterError("truth: a value is neither 0 nor 1; 1 is a hit")
    return values.astype(bool)


def _check(settings: list[Setting], info: FrameInfo) -> None:
    """Whatever could fail later: files that are missing, a geometry that does not fit, a device that is not there."""
    faults: dict[str, None] = {}
    for fai in _distinct(setting.processing.fai for setting in settings):
        faults |= dict.fromkeys(table_faults(fai, info))
    if faults:
        raise ParameterError(f"settings refused ({len(faults)}): " + "; ".join(faults))
    one_each = {setting.processing.compute.model_dump_json(): setting.processing for setting in settings}
    if len(one_each) > 1:
        for processing in one_each.values():
            make_smx_finder(processing, load_tables(processing.fai, info), info.dtype).close()


def _distinct(all_fai: Iterable[Fai]) -> list[Fai]:
    """One of each, those with the same geometry one after another."""
    return sorted({fai.model_dump_json(): fai for fai in all_fai}.values(), key=_geometry_key)


def _geometry_key(fai: Fai) -> str:
    return json.dumps([getattr(fai, name) for name in GEOMETRY])


def _rows(
    settings: list[Setting],
    stack: FrameStack,
    feed: FrameFeed,
    cores: int,
    truth: np.ndarray | None,
    progress: Callable[[int, int], None],
) -> list[Row]:
    measured: dict[str, Measured] = {}
    rows: dict[int, Row] = {}
    progress(0, len(settings))
    for place in sorted(range(len(settings)), key=lambda place: _geometry_key(settings[place].processing.fai)):
        setting = settings[place]
        key = _key(setting.processing)
        if key not in measured:
            measured[key] = measure(setting.processing, feed, stack, cores)
        rows[place] = make_row(
            setting.values, setting.processing.peaks.min_spots, measured[key], stack.info.nbytes, truth
        )
        progress(len(rows), len(settings))
    return [rows[place] for place in range(len(settings))]


def _key(processing: SmxParameters) -> str:
    """Equal for settings that find the same spots: all but min_spots, which only says what is a hit."""
    content = processing.model_dump(include={"fai", "peaks", "compute"}, mode="json")
    del content["peaks"]["min_spots"]
    return json.dumps(content)


def _marked(rows: list[Row]) -> list[Row]:
    wrong = [(row.false_hits or 0) + (row.missed_hits or 0) for row in rows]
    return [replace(row, best=count == min(wrong)) for row, count in zip(rows, wrong, strict=True)]
