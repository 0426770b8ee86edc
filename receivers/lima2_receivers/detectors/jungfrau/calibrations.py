"""Calibrations ready for correction, kept in memory from one acquisition to the next; and pedestals that follow."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from lima2_bliss.contract import NotReadyError, ParameterError
from lima2_receivers.detectors.jungfrau.calibration import Calibration, occasion_misfits, refuse, require_fit
from lima2_receivers.detectors.jungfrau.calibration_file import load_calibration
from lima2_receivers.detectors.jungfrau.params import JungfrauParameters
from lima2_receivers.detectors.jungfrau.pedestals import RunningPedestal
from lima2_receivers.kernels.jungfrau_layout import MASK_VIRTUAL, Layout, image_mask
from lima2_receivers.kernels.jungfrau_types import StageMaps

#: Calibrations kept; one of a 4M has 135 MB, 235 MB with high gain.
KEPT = 2
#: How long it is waited for one that is being read [s]; commands have two seconds in all.
READING_S = 1.5

#: (path, time of change, size): another file gives another value.
Version = tuple[str, int, int]


@dataclass(frozen=True)
class ReadyCalibration:
    """The maps of a calibration file for one photon energy. ``noise`` [ADU], float32 (modules, rows, columns), is that
    of the first stage of the acquisition's mode; ``bad``: bool, pixels without a value in that mode."""

    key: tuple
    version: Version
    maps: StageMaps
    high_gain: StageMaps | None
    noise: np.ndarray
    bad: np.ndarray
    module_ids: tuple[int, ...]
    taken_at: datetime
    serial: str
    masks: dict[Layout, np.ndarray] = field(default_factory=dict)

    def masked(self, layout: Layout) -> np.ndarray:
        """Image pixels that never have a value; see `masked_image`. Nobody writes to it."""
        if layout not in self.masks:
            self.masks.clear()
            self.masks[layout] = masked_image(layout, self.bad)
        return self.masks[layout]


def masked_image(layout: Layout, bad: np.ndarray | None = None) -> np.ndarray:
    """bool (height, width), True for gaps, for ``bad`` pixels (modules, rows, columns), and for double pixels where the
    layout empties them."""
    bits = image_mask(layout, None if bad is None else bad.astype(np.uint32) << 1)
    return (bits & ~np.uint32(MASK_VIRTUAL)) != 0


_kept: OrderedDict[tuple, Future[ReadyCalibration]] = OrderedDict()
_lock = threading.Lock()


def ready_calibration(parameters: JungfrauParameters) -> ReadyCalibration:
    """The calibration that these parameters name, if it fits; `ParameterError` names the file and what does not.

    `NotReadyError` while it is being read: ask again.
    """
    det = parameters.det
    correction = det.correction
    version = file_version(correction.calibration)
    photon_kev = correction.photon_kev if correction.unit == "photons" else None
    key = (version, photon_kev, det.high_gain, det.geometry.layout.stack_shape)
    ready = _in_memory(key, lambda: _load(key, version, photon_kev, det.high_gain))
    moment = max(datetime.now(UTC), ready.taken_at) if correction.max_age_h else None  # clocks of hosts may differ
    age = timedelta(hours=correction.max_age_h)
    faults = occasion_misfits(ready.module_ids, ready.taken_at, det.module_ids or None, moment, age)
    refuse(faults, correction.calibration)
    return ready


def _in_memory(key: tuple, load: Callable[[], ReadyCalibration]) -> ReadyCalibration:
    """The calibration that is kept as ``key``; else ``load`` begins in a thread, and may take longer than a command."""
    with _lock:
        found = _kept.get(key)
        if found is None:
            found = _kept[key] = Future()
            threading.Thread(target=_fill, args=(found, load), name="jungfrau-calibration", daemon=True).start()
        _kept.move_to_end(key)
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
    try:
        return found.result(READING_S)
    except TimeoutError:
        raise NotReadyError(f"calibration {key[0][0]} is being read; prepare again in a moment") from None
    except Exception:
        with _lock:  # it may be another file by the next time
            if _kept.get(key) is found:
                del _kept[key]
        raise


def _fill(found: Future[ReadyCalibration], load: Callable[[], ReadyCalibration]) -> None:
    try:
        found.set_result(load())
    except Exception as error:  # noqa: BLE001 - whoever asks gets it
        found.set_exception(error)


def file_version(path: str) -> Version:
    """`ParameterError` when there is no such file."""
    try:
        state = Path(path).stat()
    except OSError as error:
        raise ParameterError(f"det.correction.calibration: {path} cannot be read: {error.strerror}") from None
    return str(Path(path).resolve()), state.st_mtime_ns, state.st_size


def _load(key: tuple, version: Version, photon_kev: float | None, high_gain: bool) -> ReadyCalibration:
    calibration = load_calibration(version[0])
    require_fit(calibration, key[-1], version[0], high_gain=high_gain)
    return ReadyCalibration(
        key=key,
        version=version,
        maps=calibration.stage_maps(photon_kev),
        high_gain=calibration.stage_maps(photon_kev, high_gain=True) if calibration.has_high_gain else None,
        noise=calibration.noise[3 if high_gain else 0].copy(),
        bad=_without_value(calibration, high_gain),
        module_ids=calibration.module_ids,
        taken_at=calibration.taken_at,
        serial=calibration.serial,
    )


def _without_value(calibration: Calibration, high_gain: bool) -> np.ndarray:
    """Pixels that the kernels leave out in all stages: those that cannot be used in the first one."""
    first = 3 if high_gain else 0
    gains, pedestals = calibration.gains[first], calibration.pedestals[first]
    bad: np.ndarray = (calibration.mask != 0) | ~np.isfinite(gains) | (gains == 0) | ~np.isfinite(pedestals)
    return bad


class Tracked:
    """Pedestals that follow, of one receiver: a copy of a calibration's maps, changed in place frame by frame."""

    def __init__(self, ready: ReadyCalibration, parameters: JungfrauParameters) -> None:
        det, running = parameters.det, parameters.det.running_pedestal
        maps = ready.high_gain if det.high_gain else ready.maps
        assert maps is not None  # `require_fit` has seen to it
        if not np.isfinite(ready.noise).any():
            raise ParameterError(
                f"det.running_pedestal: {ready.version[0]} has no noise of {'HG0' if det.high_gain else 'G0'}, which "
                "decides what counts; take pedestals"
            )
        self.maps = StageMaps(maps.pedestals.copy(), maps.factors)
        self._running = RunningPedestal(self.maps, ready.noise, window=running.window, reach=running.reach)
        self._turn = threading.Lock()  # an acquisition may begin while the last one is still processed

    @property
    def frames(self) -> int:
        """Frames taken in so far, also by earlier acquisitions."""
        return self._running.frames

    def follow(self, stack: np.ndarray) -> None:
        """Take in a raw frame without photons."""
        with self._turn:
            self._running.follow(stack)


_tracked: dict[int, tuple[tuple, Tracked]] = {}


def tracked_pedestals(ready: ReadyCalibration, parameters: JungfrauParameters, rank: int) -> Tracked | None:
    """The pedestals that follow on receiver ``rank`` of this process; None, and a new start, where that is disabled.

    They go on from the last acquisition when nothing has changed that matters to them.
    """
    acq, det = parameters.acq, parameters.det
    with _lock:
        if not det.running_pedestal.enabled:
            _tracked.pop(rank, None)
            return None
        settings = det.running_pedestal.model_dump(exclude={"save_path", "every"})
        key = (ready.key, acq.expo_time, det.storage_cell, det.speed, tuple(settings.items()))
        if rank not in _tracked or _tracked[rank][0] != key:
            _tracked[rank] = (key, Tracked(ready, parameters))
        return _tracked[rank][1]


def forget_tracked(rank: int) -> None:
    """The next acquisition with pedestals that follow starts from its calibration."""
    with _lock:
        _tracked.pop(rank, None)


def save_tracked(
    ready: ReadyCalibration, tracked: Tracked, high_gain: bool, save: Callable[[Calibration], object]
) -> None:
    """Give the calibration with the pedestals that followed to ``save``; `ParameterError` if its file has changed."""
    path = ready.version[0]
    if file_version(path) != ready.version:
        raise ParameterError(
            f"{path} has changed since the acquisition began; its pedestals that followed are not saved"
        )
    calibration = load_calibration(path)
    stage = 3 if high_gain else 0
    pedestals = calibration.pedestals.copy()
    known = np.isfinite(pedestals[stage])
    np.copyto(pedestals[stage], tracked.maps.pedestals[0], where=known)
    line = f"pedestals of {'HG0' if high_gain else 'G0'} followed over {tracked.frames} frames, from {path}"
    save(calibration.with_step(line, pedestals=pedestals, taken_at=datetime.now(UTC)))
