"""The node that watches the count rate of the raw frames."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from lima2_bliss.contract import AcquisitionError, FrameFlags
from lima2_receivers.engine.plugin import FrameItem
from lima2_receivers.kernels.countrate import first_above

logger = logging.getLogger(__name__)


class CountrateNode:
    """Refuses frames with a pixel above ``limit`` counts that is not masked, and not ``dummy``.

    ``abort``: the acquisition ends with an error that names the pixel. Otherwise the frame goes on with its pixels and
    the flag `FAILED`, and the first such frame is logged.
    """

    name = "countrate protection"

    def __init__(
        self,
        limit: np.generic,
        keep: np.ndarray,
        ignore_max: bool,
        abort: bool,
        max_countrate: float,
        dummy: float | None = None,
    ) -> None:
        self._limit = limit
        self._keep = keep
        self._ignore_max = ignore_max
        self._abort = abort
        self._max_countrate = max_countrate
        self._dummy = dummy
        self._logged = False

    def process(self, item: FrameItem) -> FrameItem:
        if item.buffer is None:
            return item
        place = first_above(item.pixels, self._limit, self._keep, self._ignore_max, self._dummy)
        if place < 0:
            return item
        channel, y, x = (int(index) for index in np.unravel_index(place, item.pixels.shape))
        where = f"x={x} y={y}" + (f" channel={channel}" if item.pixels.shape[0] > 1 else "")
        counts = item.pixels[channel, y, x]
        text = (
            f"count rate too high: raw pixel {where} of frame {item.meta.index} has {counts} counts, "
            f"more than {self._limit} ({self._max_countrate:g} counts/s during the exposure)"
        )
        if self._abort:
            raise AcquisitionError(text + "; protect the detector: attenuate the beam or shorten the exposure")
        if not self._logged:
            self._logged = True
            logger.warning("%s; this and later such frames are flagged FAILED", text)
        item.meta = replace(item.meta, flags=item.meta.flags | FrameFlags.FAILED)
        return item
