"""One blissdata stream of a detector: its name and points, and where its values come from."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field

from lima2_bliss.contract.parameters import Parameters

#: Kinds of streams. One point per frame: scalar, vector, hit_rate. Rows of all frames one after another: flat,
#: flat_frame. Now and then: preview, preview_index, accumulated. Status of frames that lie elsewhere: image.
Kind = Literal["scalar", "vector", "hit_rate", "flat", "flat_frame", "preview", "preview_index", "accumulated", "image"]


class StreamDefinition(Parameters):
    """One stream ``<detector>:<name>``: points of ``dtype`` and ``shape``.

    ``source`` is a stream of result rows (or a frame source for images, previews and accumulated ones).

    - scalar: ``column`` of row ``row`` of each frame; vector: that of ``shape[0]`` rows from ``row`` on
    - hit_rate: share of frames with ``column`` set, among the last good ones
    - flat: ``column`` of every row, frame after frame, a varying number of each; flat_frame: for each such row the
      index of its frame in the scan
    - accumulated: image that each receiver sums up (``merge`` sum) or averages (mean), put together

    Values of scalars, vectors and flat streams are multiplied by ``scale``.
    """

    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")
    kind: Kind
    dtype: str = Field(pattern=r"^(u?int(8|16|32|64)|float(32|64))$")
    shape: tuple[int, ...] = Field((), max_length=2)
    unit: str = Field("", max_length=32)
    source: str = Field("", max_length=64)
    row: int = Field(0, ge=0)
    column: str = Field("", max_length=32)
    scale: float = 1.0
    merge: Literal["sum", "mean"] = "mean"

    @property
    def nbytes(self) -> int:
        """Bytes of one point."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize

    @property
    def per_frame(self) -> bool:
        """True when there is one point for each frame."""
        return self.kind in ("scalar", "vector", "hit_rate")

    def info(self) -> dict[str, Any]:
        """dtype, shape and unit as blissdata stream info wants them."""
        return {"dtype": self.dtype, "shape": list(self.shape), "unit": self.unit or None}

    def values(self, rows: np.ndarray) -> np.ndarray:
        """Points of this stream: from result rows of shape (frames, rows per frame), or (rows) for a flat one."""
        column = rows[self.column]
        if self.kind == "vector":
            column = column[:, self.row : self.row + self.shape[0]]
        elif self.kind != "flat":
            column = column[:, self.row]
        if self.scale != 1.0:
            column = column * self.scale
        return np.ascontiguousarray(column, self.dtype)
