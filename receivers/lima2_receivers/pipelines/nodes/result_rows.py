"""Rows of the results log from the statistics of one frame."""

from __future__ import annotations

import numpy as np

from lima2_bliss.contract import ROI_STATISTICS, FrameMeta
from lima2_receivers.kernels.statistics import STATISTICS


def result_rows(meta: FrameMeta, values: np.ndarray | None, nb_rows: int) -> np.ndarray:
    """``nb_rows`` records of frame ``meta``; NaN without ``values`` (rows, 5), which a frame without pixels has not.

    ``frame_idx`` is the global index, ``recv_idx`` the place in this receiver's order of arrival.
    """
    rows = np.empty(nb_rows, ROI_STATISTICS)
    rows["frame_idx"] = meta.index
    rows["recv_idx"] = meta.local
    with np.errstate(over="ignore"):  # a value beyond float32 becomes infinity
        for column, name in enumerate(STATISTICS):
            rows[name] = np.nan if values is None else values[:, column]
    return rows
