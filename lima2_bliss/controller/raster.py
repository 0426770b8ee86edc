"""Lines swept one after another in one acquisition, while a second motor goes from line to line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from bliss.scanning.scan import Scan
from bliss.scanning.scan_info import ScanInfo

from lima2_bliss.contract import ParameterError
from lima2_bliss.controller.line import check_line
from lima2_bliss.controller.lines_master import LinesMaster, Sweep
from lima2_bliss.controller.sweep import LineRequest, lines_scan, plan_line

if TYPE_CHECKING:
    from lima2_bliss.controller.detector import Lima2Detector


def raster_scan(
    detector: Lima2Detector,
    fast: Any,
    slow: Any,
    request: LineRequest,
    slow_start: float,
    slow_stop: float,
    slow_intervals: int,
    counters: Sequence[Any] = (),
    backnforth: bool = False,
    save: bool = True,
    run: bool = True,
) -> Scan:
    """The scan of `raster`; everything that can be wrong is found before it starts."""
    name = f"{detector.name}.raster"
    if fast is slow:
        raise ParameterError(f"{name}: {fast.name} cannot be both motors; give two")
    if isinstance(slow_intervals, bool) or int(slow_intervals) != slow_intervals or slow_intervals < 0:
        raise ParameterError(f"{name}: {slow_intervals!r} intervals are not possible; allowed: 0, 1, 2, ...")
    plan = plan_line(detector, request)
    line = plan.line
    for each in (line, line.reversed()) if backnforth else (line,):
        check_line(name, fast, each)
    low, high = sorted(slow.limits)
    if min(slow_start, slow_stop) < low or max(slow_start, slow_stop) > high:
        raise ParameterError(
            f"{name}: {slow.name} would move from {slow_start:g} to {slow_stop:g}; its limits are {low:g} to {high:g}"
        )
    places = np.linspace(slow_start, slow_stop, int(slow_intervals) + 1)
    sweeps = [
        Sweep(line.reversed() if backnforth and number % 2 else line, float(place))
        for number, place in enumerate(places)
    ]
    master = LinesMaster(fast, slow, sweeps, request.trigger == "position")
    info = ScanInfo()
    words = [fast.name, f"{request.start:g}", f"{request.stop:g}", str(request.nb_images)]
    words += [slow.name, f"{slow_start:g}", f"{slow_stop:g}", str(slow_intervals), f"{request.expo_time:g}"]
    info.update({"type": "raster", "title": f"{name}({', '.join(words)})", "data_dim": 2})
    info.update({"start": [request.start, slow_start], "stop": [request.stop, slow_stop]})
    info.update({"npoints1": line.nb_images, "npoints2": len(places)})
    axes = (
        (fast, request.start, request.stop, line.nb_images, "backnforth" if backnforth else "forth"),
        (slow, slow_start, slow_stop, len(places), "step"),
    )
    for axis_id, (motor, start, stop, points, kind) in enumerate(axes):
        info.set_channel_meta(
            f"axis:{motor.name}",
            start=float(start),
            stop=float(stop),
            points=master.npoints,
            axis_id=axis_id,
            axis_points=points,
            axis_kind=kind,
            group=detector.name,
        )
    info.add_scatter_plot(x=f"axis:{fast.name}", y=f"axis:{slow.name}")
    scan = lines_scan(detector, master, request, plan, counters, info, save)
    if run:
        scan.run()
    return scan
