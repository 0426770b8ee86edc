"""What is known of a scan and of one of its detectors, as the page shows it; no I/O.

A `DetectorView` has one writer, its collector; readers take its members as they are: each is replaced as a whole, never
changed in place (also `series`, when one is added), but for each `Series`, which locks itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from lima2_bliss.monitor.series import Series

ScanState = Literal["waiting", "running", "ended"]
#: (frame, spots) of a hit.
Hit = tuple[int, int]


@dataclass(frozen=True)
class ScanSummary:
    """One scan in Redis; ``npoints`` 0 when nobody knows before its end, times in seconds since 1970 or None.

    ``frames`` and ``hits`` of its first detector, known after the end.
    """

    key: str
    session: str
    number: int
    name: str
    title: str
    state: ScanState
    start: float | None
    end: float | None
    npoints: int
    filename: str
    detectors: tuple[str, ...]
    frames: int | None = None
    hits: int | None = None


@dataclass(frozen=True)
class Geometry:
    """Where the beam meets the detector: centre [px of the image], distance and pixel [m], wavelength [nm]."""

    beam_x: float
    beam_y: float
    distance_m: float
    pixel_m: float
    wavelength_nm: float


@dataclass(frozen=True, eq=False)
class Curve:
    """A curve with its band: radial background of one frame; float arrays (n,), NaN where nothing is."""

    x: np.ndarray
    y: np.ndarray
    lo: np.ndarray | None = None
    hi: np.ndarray | None = None
    x_title: str = ""
    y_title: str = ""


@dataclass(frozen=True, eq=False)
class Bars:
    """A histogram: centres (n,) and counts (n,)."""

    x: np.ndarray
    counts: np.ndarray
    x_title: str = ""


@dataclass(frozen=True, eq=False)
class HitMap:
    """Hits over two scan axes: positions (nx,), (ny,) and hits (ny, nx), NaN where no frame was taken."""

    x_title: str
    y_title: str
    x: np.ndarray
    y: np.ndarray
    hits: np.ndarray


@dataclass(frozen=True)
class Counts:
    """Counts of each receiver: names of the columns, one row per receiver."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str | int]]


@dataclass(frozen=True)
class Alarm:
    """Something that the user must see."""

    level: Literal["warn", "bad"]
    text: str


@dataclass
class DetectorView:
    """What one detector of a scan shows; ``revision`` grows with each change."""

    scan: ScanSummary
    detector: str
    revision: int = 0
    frames: int = 0
    newest_hit: int | None = None
    series: dict[str, Series] = field(default_factory=dict)
    times: Series = field(default_factory=Series)
    background: Curve | None = None
    resolution: Bars | None = None
    hit_map: HitMap | None = None
    hits: tuple[Hit, ...] = ()
    best: tuple[Hit, ...] = ()
    counts: Counts | None = None
    alarms: tuple[Alarm, ...] = ()
    geometry: Geometry | None = None
    info: Mapping[str, Any] = field(default_factory=dict)
