"""The charts of a view: which there are, as messages for the page, and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from lima2_bliss.contract import NotAvailableError
from lima2_bliss.monitor.model import Bars, Curve, DetectorView, HitMap
from lima2_bliss.monitor.series import Points

BACKGROUND, RESOLUTION, MAP = "background", "resolution", "map"
#: First of all, in this order; then the rest of the series.
_FIRST = ("hit_rate", "nb_peaks", BACKGROUND, MAP, RESOLUTION, "background_level", "frame_rate", "latency")
#: Charts of a page; more ROIs than that are not drawn.
MOST_CHARTS = 16

_Y_TITLES = {"hit_rate": "hits / frames", "nb_peaks": "spots", "frame_rate": "1/s", "latency": "ms"}


def chart_names(view: DetectorView) -> list[str]:
    """Charts that have something to show, in the order of the page."""
    there = {name for name, series in view.series.items() if len(series)}
    there |= {BACKGROUND} if view.background is not None else set()
    there |= {RESOLUTION} if view.resolution is not None else set()
    there |= {MAP} if view.hit_map is not None else set()
    first = [name for name in _FIRST if name in there]
    return [*first, *sorted(there - set(first))][:MOST_CHARTS]


def _content(view: DetectorView, name: str) -> Points | Curve | Bars | HitMap:
    special: dict[str, Curve | Bars | HitMap | None] = {
        BACKGROUND: view.background,
        RESOLUTION: view.resolution,
        MAP: view.hit_map,
    }
    found = special.get(name)
    if found is not None:
        return found
    if name in view.series:
        return view.series[name].points()
    raise NotAvailableError(f"there is no chart {name!r}; there are: {', '.join(chart_names(view)) or 'none yet'}")


def _numbers(values: np.ndarray) -> list[Any]:
    """Plain numbers, None for NaN."""
    return np.where(np.isfinite(values), values, None).tolist()  # type: ignore[call-overload]


def chart_state(view: DetectorView, name: str) -> Any:
    """Something that is another when the chart is; None when there is no such chart."""
    special = {BACKGROUND: view.background, RESOLUTION: view.resolution, MAP: view.hit_map}
    series = view.series.get(name)
    return special.get(name) or (None if series is None else (id(series), len(series)))


def chart_message(view: DetectorView, name: str) -> dict[str, Any]:
    """What a page needs to draw a chart. `NotAvailableError` names the charts that there are."""
    content = _content(view, name)
    message: dict[str, Any] = {"type": "series", "name": name, "kind": "line"}
    if isinstance(content, HitMap):
        return message | {
            "kind": "map",
            "x": _numbers(content.x),
            "y": _numbers(content.y),
            "z": [_numbers(row) for row in content.hits],
            "x_title": content.x_title,
            "y_title": content.y_title,
        }
    if isinstance(content, Bars):
        counts = content.counts.tolist()
        return message | {"kind": "bars", "x": _numbers(content.x), "counts": counts, "x_title": content.x_title}
    if content.lo is not None and content.hi is not None:
        message |= {"lo": _numbers(content.lo), "hi": _numbers(content.hi)}
    titles = {"x_title": "frame", "y_title": _Y_TITLES.get(name, "")}
    if isinstance(content, Curve):
        titles = {"x_title": content.x_title, "y_title": content.y_title}
    if isinstance(content, Points) and len(view.times):
        message["t"] = _numbers(_times(view, content.x))
    return message | titles | {"x": _numbers(content.x), "y": _numbers(content.y)}


def _times(view: DetectorView, frames: np.ndarray) -> np.ndarray:
    """Times of frames, seconds since 1970; NaN where none is known."""
    known = view.times.points(2000)
    return np.interp(frames, known.x, known.y, left=np.nan, right=np.nan)


def chart_csv(view: DetectorView, name: str) -> str:
    """A chart as CSV with one line of names. `NotAvailableError` names the charts that there are."""
    content = _content(view, name)
    if isinstance(content, HitMap):
        rows = ((x, y, content.hits[j, i]) for j, y in enumerate(content.y) for i, x in enumerate(content.x))
        return table_csv((content.x_title, content.y_title, "hits"), rows)
    if isinstance(content, Bars):
        return table_csv((content.x_title, "count"), zip(content.x, content.counts, strict=True))
    titles = (content.x_title, content.y_title) if isinstance(content, Curve) else ("frame", name)
    columns = [content.x, content.y]
    if content.lo is not None and content.hi is not None:
        titles, columns = (*titles, "lowest", "highest"), [*columns, content.lo, content.hi]  # type: ignore[assignment]
    return table_csv(titles, zip(*columns, strict=True))


def table_csv(titles: Sequence[str], rows: Any) -> str:
    """Rows of numbers as CSV; NaN is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(titles)
    for row in rows:
        writer.writerow(["" if value != value else f"{value:.7g}" for value in row])
    return text.getvalue()
