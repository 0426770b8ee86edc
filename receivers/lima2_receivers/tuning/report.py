"""What came out for each setting, as rows, as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from lima2_receivers.tuning.measure import Measured


@dataclass(frozen=True)
class Row:
    """One setting. Numbers of frames, unless the name says otherwise.

    ``spots_per_hit``: median; ``spots_per_other``: mean over the frames that are no hits; both NaN without such frames.
    ``reduction``: bytes of dense frames to those of sparse ones with their background, before compression.
    ``ms_per_frame``: all cores at work, reading left out. ``nb_cut``: frames with more spots than max_spots.
    With a truth: ``sensitivity``, the share of the true hits that were found; ``false_hits``; ``missed_hits``;
    ``best`` where the fewest frames are false or missed.
    """

    values: dict[str, Any]
    hits: int
    hit_rate: float
    spots_per_hit: float
    spots_per_other: float
    pixels_per_frame: float
    reduction: float
    ms_per_frame: float
    nb_cut: int
    backend: str
    sensitivity: float | None = None
    false_hits: int | None = None
    missed_hits: int | None = None
    best: bool = False


@dataclass(frozen=True)
class TuningReport:
    """All settings, in the order of the grid, and what they were tried on.

    ``left_out``: frames in the asked range that could not be used, by `FrameFlags` name. ``present``: the values of the
    varied parameters before they were varied. ``true_hits``: how many frames are hits in truth, None without a truth.
    """

    source: str
    nb_frames: int
    nb_in_source: int
    left_out: dict[str, int]
    shape: tuple[int, int]
    dtype: str
    cores: int
    present: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    true_hits: int | None = None

    @property
    def best(self) -> list[Row]:
        """The settings that agree best with the truth; none without one."""
        return [row for row in self.rows if row.best]

    def to_json(self) -> str:
        """JSON text with the fields of this class; numbers that do not exist are null."""
        return json.dumps(_without_nan(asdict(self)), indent=1)

    def table(self) -> str:
        """Text for people: what was used, one line per setting, what to know of them."""
        names = _column_names(self.present)
        titles = [*names, "hits", "hit rate", "spots/hit", "spots/other", "pixels/frame", "reduction", "ms/frame"]
        if self.true_hits is not None:
            titles += ["found", "missed", "false", ""]
        lines = [[*map(_shown, row.values.values()), *_numbers(row, self.true_hits)] for row in self.rows]
        columns = list(zip(titles, *lines, strict=True))
        widths = [max(map(len, column)) for column in columns]
        body = [
            "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in (titles, *lines)
        ]
        return "\n".join([*self._head(), *(line.rstrip() for line in body), *self._foot()])

    def _head(self) -> list[str]:
        height, width = self.shape
        used = f"{self.nb_frames} of {self.nb_in_source} frames"
        if self.left_out:
            used += f" (left out: {', '.join(f'{count} {name.lower()}' for name, count in self.left_out.items())})"
        backends = ", ".join(dict.fromkeys(row.backend for row in self.rows))
        head = [f"{self.source}: {used}, {width} x {height} {self.dtype}; {backends} on {self.cores} cores"]
        if self.present:
            head.append("now: " + ", ".join(f"{name} = {_shown(value)}" for name, value in self.present.items()))
        return head

    def _foot(self) -> list[str]:
        foot = []
        cut = [row.nb_cut for row in self.rows if row.nb_cut]
        if cut:
            foot.append(f"up to {max(cut)} frames had more spots than max_spots; a larger cutoff_peak finds fewer")
        if self.true_hits is not None:
            foot.append(f"truth: {self.true_hits} hits; * fewest frames wrong (missed and false together)")
        return foot


def make_row(
    values: Mapping[str, Any], min_spots: int, measured: Measured, frame_bytes: int, truth: np.ndarray | None
) -> Row:
    """The row of a setting; ``truth``: bool, one for each frame measured, or None."""
    hit = measured.nb_spots >= min_spots
    total = len(hit)
    row = {
        "hits": int(hit.sum()),
        "hit_rate": float(hit.mean()),
        "spots_per_hit": float(np.median(measured.nb_spots[hit])) if hit.any() else float("nan"),
        "spots_per_other": float(measured.nb_spots[~hit].mean()) if not hit.all() else float("nan"),
        "pixels_per_frame": float(measured.nb_pixels.mean()),
        "reduction": frame_bytes * total / float(measured.sparse_bytes.sum()),
        "ms_per_frame": 1000 * measured.seconds / total,
        "nb_cut": int((measured.nb_dropped > 0).sum()),
        "backend": measured.backend,
    }
    if truth is not None:
        row["sensitivity"] = float(hit[truth].mean()) if truth.any() else float("nan")
        row["false_hits"] = int((hit & ~truth).sum())
        row["missed_hits"] = int((~hit & truth).sum())
    return Row(dict(values), **row)  # type: ignore[arg-type]


def _numbers(row: Row, true_hits: int | None) -> list[str]:
    cells = [
        str(row.hits),
        f"{100 * row.hit_rate:.1f} %",
        _number(row.spots_per_hit),
        _number(row.spots_per_other),
        f"{row.pixels_per_frame:.0f}",
        f"{row.reduction:.1f}",
        f"{row.ms_per_frame:.2f}",
    ]
    if true_hits is not None:
        found = "-" if np.isnan(row.sensitivity) else f"{100 * row.sensitivity:.1f} %"  # type: ignore[arg-type,operator]
        cells += [found, str(row.missed_hits), str(row.false_hits), "*" if row.best else ""]
    return cells


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.1f}"


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value) or "''"


def _column_names(full_names: Mapping[str, Any]) -> list[str]:
    """Last parts of the names; they are all different in the sections that can be varied."""
    return [name.rpartition(".")[2] for name in full_names]


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and np.isnan(value) else value
