"""What the detector does with its frames in order: adds dark ones up for pedestals, lets pedestals follow."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from lima2_bliss.contract import AcquisitionError, FrameMeta, SavingError
from lima2_receivers.detectors.jungfrau.calibration import STAGES, Calibration
from lima2_receivers.detectors.jungfrau.calibration_file import save_calibration
from lima2_receivers.detectors.jungfrau.calibrations import ReadyCalibration, Tracked, save_tracked
from lima2_receivers.detectors.jungfrau.frame_headers import modes_of, module_ids_of
from lima2_receivers.detectors.jungfrau.packets import DAQ_HIGH_GAIN
from lima2_receivers.detectors.jungfrau.params import JungfrauParameters
from lima2_receivers.detectors.jungfrau.pedestal_files import (
    DarkSums,
    require_folder,
    require_free,
    save_sums,
    sums_path,
)
from lima2_receivers.detectors.jungfrau.pedestals import PedestalTaker, stage_of
from lima2_receivers.engine.plugin import RAW_FRAME, FrameItem, Node, ReceiverSetup

logger = logging.getLogger(__name__)

#: Pedestals on an OpenCL device are renewed so often within the window of the running mean.
RENEWED_PER_WINDOW = 8

#: Stage that a gain mode measures, before high gain.
MODE_STAGES = {"dynamic": 0, "forceswitchg1": 1, "forceswitchg2": 2, "fixg1": 1, "fixg2": 2}

#: Nodes, and what to do after the last frame.
Work = tuple[Sequence[Node], Callable[[], None]]


def pedestal_work(parameters: JungfrauParameters, setup: ReceiverSetup) -> Work:
    """Adding up dark frames, if it is asked for; `SavingError` when the file of sums exists already."""
    if not parameters.det.pedestals.enabled:
        return (), lambda: None
    path = sums_path(parameters.det.pedestals.path, setup.rank)
    require_free(path)
    node = PedestalNode(parameters)
    return (node,), lambda: save_sums(path, node.sums(setup))


class PedestalNode:
    """Adds complete dark frames up, but for the first ones of a receiver."""

    name = "pedestals"

    def __init__(self, parameters: JungfrauParameters) -> None:
        det = parameters.det
        self._parameters = parameters
        self._shape = det.geometry.layout.stack_shape
        self._taker = PedestalTaker(self._shape)
        self._module_ids: tuple[int, ...] = ()
        self._assumed = STAGES[MODE_STAGES[det.gain_mode] + 3 * det.high_gain]

    def process(self, item: FrameItem) -> FrameItem:
        holder, meta = item.more[RAW_FRAME]
        if holder is None or meta.flags or meta.local < self._parameters.det.pedestals.skip_frames:
            return item
        self._look_at_modules(meta)
        self._taker.add(np.asarray(holder.data).reshape(self._shape), stage=self._stage(meta))
        return item

    def _stage(self, meta: FrameMeta) -> str:
        """The stage that the headers say, which has to be that of the parameters where we set the detector."""
        stages = {STAGES[stage_of(mode)] for mode in modes_of(meta)} or {self._assumed}
        external = self._parameters.det.wire == "external"
        if len(stages) > 1 or (not external and stages != {self._assumed}):
            raise AcquisitionError(
                f"dark frame {meta.index} is of stage {' and '.join(sorted(stages))} by its headers, but gain mode "
                f"{self._parameters.det.gain_mode} gives {self._assumed}: look at the modules' settings"
            )
        return stages.pop()

    def _look_at_modules(self, meta: FrameMeta) -> None:
        ids = module_ids_of(meta, self._shape[0])
        if self._module_ids and ids != self._module_ids:
            raise AcquisitionError(
                f"frame {meta.index} is of modules {list(ids)}, those before of {list(self._module_ids)}"
            )
        self._module_ids = ids

    def sums(self, setup: ReceiverSetup) -> DarkSums:
        """All that was added up."""
        acq, det = self._parameters.acq, self._parameters.det
        if not self._taker.frames:
            logger.warning("no dark frame was added up on receiver %d", setup.rank)
        return DarkSums(
            taker=self._taker,
            module_ids=self._module_ids,
            taken_at=datetime.now(UTC),
            conditions={
                "exposure_s": acq.expo_time / 1e6,
                "storage_cell": det.storage_cell,
                "speed": det.speed,
            },
            modes=dict.fromkeys(self._taker.frames, det.gain_mode),
            uuid=setup.uuid,
            rank=setup.rank,
            receivers=setup.dispatch.receivers,
        )


def running_pedestal_work(
    parameters: JungfrauParameters,
    setup: ReceiverSetup,
    ready: ReadyCalibration,
    tracked: Tracked,
    renew: Callable[[], None] | None,
) -> Work:
    """Pedestals that follow; ``renew`` brings them to where frames are corrected, if that is elsewhere.

    `SavingError` when they are to be saved in a folder that is not there.
    """
    det = parameters.det
    require_folder(Path(det.running_pedestal.save_path), "det.running_pedestal.save_path")
    node = RunningPedestalNode(parameters, tracked, renew)

    def save() -> None:
        prefix = det.running_pedestal.save_path
        if prefix and node.frames:
            save_tracked(ready, tracked, det.high_gain, lambda made: save_numbered(f"{prefix}_{setup.rank}", made))

    return (node,), save


class RunningPedestalNode:
    """Lets pedestals follow complete frames that were no hits, each n-th of them."""

    name = "running pedestal"

    def __init__(self, parameters: JungfrauParameters, tracked: Tracked, renew: Callable[[], None] | None) -> None:
        det = parameters.det
        self._shape = det.geometry.layout.stack_shape
        self._high_gain = det.high_gain
        self._every = det.running_pedestal.every
        self._tracked = tracked
        self._renew = renew
        self._renew_after = max(1, det.running_pedestal.window // RENEWED_PER_WINDOW)
        self._seen = 0
        self.frames = 0

    def process(self, item: FrameItem) -> FrameItem:
        holder, meta = item.more[RAW_FRAME]
        if holder is None or meta.flags or item.meta.flags or item.meta.hit:
            return item
        modes = {bool(mode & DAQ_HIGH_GAIN) for mode in modes_of(meta)}
        if modes and modes != {self._high_gain}:
            return item
        self._seen += 1
        if (self._seen - 1) % self._every:
            return item
        self._tracked.follow(np.asarray(holder.data).reshape(self._shape))
        self.frames += 1
        if self._renew is not None and self.frames % self._renew_after == 0:
            self._renew()
        return item


def save_numbered(prefix: str, calibration: Calibration) -> Path:
    """Save as PREFIX_NNNN.h5 with the number after the highest that exists; returns the path."""
    folder, name = Path(prefix).parent, Path(prefix).name
    number = 0
    for path in folder.glob("*.h5"):
        front, _, digits = path.stem.rpartition("_")
        if front == name and digits.isdigit():
            number = max(number, int(digits) + 1)
    while True:
        path = folder / f"{name}_{number:04d}.h5"
        try:
            save_calibration(path, calibration)
        except SavingError:
            if not path.exists():
                raise
            number += 1  # another one was faster
            continue
        logger.info("pedestals that followed are in %s", path)
        return path
