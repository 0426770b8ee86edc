"""What scans cost beside their exposures: prepare, start, `ct(0.05)`, points/s at 1 ms, the gap between two scans, and
what is won when a scan begins while the one before is still being saved."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
from _harness import arguments, report, run_session, running_stack

from lima2_bliss.client import Acquisition, Detector

#: Frames that take longer to save than to expose: noise, compressed with gzip.
SLOW_TO_SAVE = {
    "size.x": 1024,
    "size.y": 1024,
    "generator.type": "diffraction",
    "generator.diffraction.hit_rate": 0.0,
    "nb_prefetch_frames": 2,
}
EXPOSURE_S = 0.002

CODE = """
from bliss.common.soft_axis import SoftAxis
det = simulator
det.reset_settings()
det.roi_counters.set("roi0", (100, 100, 200, 200))

def seconds(call):
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin

ct(0.05, det)
ct_s = [seconds(lambda: ct(0.05, det)) for _ in range(REPEATS)]
figures = {"ct_50ms_wall_ms": float(np.median(ct_s)) * 1e3}

# points per second: a loop, and a mesh whose motors are variables of this process
class Place:
    position = 0.0

fast, slow = (SoftAxis(name, Place(), export_to_session=False) for name in ("fast", "slow"))
lines = max(1, POINTS // 20)
for name, device in (("", det), ("diode_", diode)):
    loopscan(10, 0.001, device, save=False)
    loop_s = seconds(lambda: loopscan(POINTS, 0.001, device, save=False))
    figures[f"{name or 'loopscan_'}points_per_s"] = POINTS / loop_s
    mesh_s = seconds(lambda: amesh(fast, 0, 19, 19, slow, 0, lines, lines, 0.001, device, save=False))
    figures[f"amesh_{name}points_per_s"] = 20 * (lines + 1) / mesh_s
figures["amesh_to_diode"] = figures["amesh_points_per_s"] / figures["amesh_diode_points_per_s"]

# from the last frame of a scan to the first frame of the next
def gap_ms(**options):
    counters = [*det.counter_groups.default, *det.counter_groups.status]
    scans = [det.take(5, 0.001, *counters, **options) for _ in range(REPEATS + 1)]
    times = [scan.streams[f"{det.name}:timestamp"][:] for scan in scans]
    return float(np.median([later[0] - earlier[-1] for earlier, later in zip(times, times[1:])])) * 1e3

figures["scan_gap_ms"] = gap_ms(save=False)
figures["scan_gap_saved_ms"] = gap_ms()
det.acquisition.overlap = 2
figures["scan_gap_overlap_ms"] = gap_ms()
det.pipelines.wait()

# saving that takes longer than the exposures
det.detector.update(SLOW_TO_SAVE)
det.saving.update({"compression": "gzip", "frames_per_file": 1000})
det.processing.update({"nb_fifo_frames": FRAMES + 10, "nb_frames_buffer": 10, "nb_input_frames_buffer": 2})
for overlap in (0, 2):
    det.acquisition.overlap = overlap
    det.take(2, EXPOSURE_S)
    det.pipelines.wait()
    begin = time.perf_counter()
    for _ in range(SERIES):
        det.take(FRAMES, EXPOSURE_S)
    name = "series_overlap" if overlap else "series"
    figures[f"{name}_s"] = time.perf_counter() - begin
    det.pipelines.wait()
    figures[f"{name}_saved_s"] = time.perf_counter() - begin
figures["overlap_gain"] = figures["series_saved_s"] / figures["series_overlap_saved_s"]
det.reset_settings()
answer(figures)
"""


@contextmanager
def client() -> Iterator[Detector]:
    detector = Detector(
        "id00/limacontrol/simulator",
        ["id00/limareceiver/simulator1", "id00/limareceiver/simulator2"],
        "id00/limaimage/simulator",
    )
    try:
        yield detector
    finally:
        detector.close()


def prepare_and_start(detector: Detector, repeats: int) -> dict[str, float]:
    """How long the commands take [ms]."""
    acquisition, processing = detector.default_parameters()
    acquisition["acq"] |= {"nb_frames": 2, "expo_time": 1000}
    prepare_s, start_s = [], []
    for _ in range(repeats + 2):
        begin = time.perf_counter()
        prepared = detector.prepare(acquisition, processing)
        prepare_s.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        prepared.start()
        start_s.append(time.perf_counter() - begin)
        prepared.wait("finished", timeout_s=20)
        prepared.close()
    return {"prepare_ms": float(np.median(prepare_s[2:]) * 1e3), "start_ms": float(np.median(start_s[2:]) * 1e3)}


def back_to_back_ms(detector: Detector, repeats: int) -> float:
    """From the last frame of an acquisition to the first of the next, that is prepared when all are received [ms]."""
    acquisition, processing = detector.default_parameters()
    acquisition["acq"] |= {"nb_frames": 6, "expo_time": 1000}
    spans: list[tuple[int, int]] = []
    before: Acquisition | None = None
    for _ in range(repeats + 1):
        prepared = detector.prepare(acquisition, processing)
        prepared.start()
        if before is not None:  # while the next one runs: looking at it does not count
            spans.append(_received_ns(before))
        before = prepared
        prepared.wait("received", 6, timeout_s=20)
        prepared.release()
    assert before is not None
    spans.append(_received_ns(before))
    return float(np.median([later[0] - earlier[1] for earlier, later in pairwise(spans)])) * 1e-6


def _received_ns(acquisition: Acquisition) -> tuple[int, int]:
    acquisition.wait("finished", timeout_s=20)
    received = acquisition.results("frame_event")["received_ns"]
    return int(received.min()), int(received.max())


def series_s(detector: Detector, series: int, frames: int, directory: str, overlap: int) -> float:
    """Time until all files of so many acquisitions are complete, each saved while ``overlap`` later ones run [s]."""
    acquisition, processing = detector.default_parameters()
    acquisition["acq"] |= {"nb_frames": frames, "expo_time": int(EXPOSURE_S * 1e6)}
    for path, value in SLOW_TO_SAVE.items():
        branch: dict[str, Any] = acquisition["det"]
        *parents, leaf = path.split(".")
        for parent in parents:
            branch = branch[parent]
        branch[leaf] = value
    processing["fifo"] |= {"nb_fifo_frames": frames + 10}
    processing["buffers"] |= {"nb_frames_buffer": 10, "nb_input_frames_buffer": 2}
    processing["saving"] |= {"enabled": True, "base_path": directory, "compression": "gzip"}
    begin, alive = time.perf_counter(), []
    for number in range(series):
        processing["saving"]["filename_prefix"] = f"with_{overlap}_{number}"
        prepared = detector.prepare(acquisition, processing)
        prepared.start()
        prepared.wait("received", frames, timeout_s=60)
        prepared.release()
        alive.append(prepared)
        while len(alive) > overlap:
            alive.pop(0).close(60.0)
    for prepared in alive:
        prepared.close(60.0)
    return time.perf_counter() - begin


def main() -> None:
    options = arguments(__doc__ or "", points=400, repeats=15, series=10, frames=100)
    with running_stack() as stack:
        with client() as detector, tempfile.TemporaryDirectory(prefix="lima2-bench-") as directory:
            figures = prepare_and_start(detector, options.repeats)
            gap_ms = back_to_back_ms(detector, options.repeats)
            series_s(detector, 1, 2, directory, 9)  # the frames are computed
            apart, overlapped = (series_s(detector, options.series, options.frames, directory, n) for n in (0, 2))
        code = CODE.replace("SLOW_TO_SAVE", repr(SLOW_TO_SAVE)).replace("EXPOSURE_S", str(EXPOSURE_S))
        for name in ("points", "repeats", "series", "frames"):
            code = code.replace(name.upper(), str(getattr(options, name)))
        figures |= run_session(stack, "import numpy as np\n" + code)
    figures |= {
        "back_to_back_gap_ms": gap_ms,
        "client_series_s": apart,
        "client_series_overlap_s": overlapped,
        "client_overlap_gain": apart / overlapped,
    }
    report(
        options,
        "scan overhead: simulator of 1 Mpx over two receivers; amesh: motors are variables in the session; gaps: from"
        " the last frame's arrival to that of the next first frame, exposed 1 ms; scan_gap: through det.take, unsaved,"
        " _saved, _overlap (saved, det.acquisition.overlap); back_to_back_gap: client, prepared when all is received;"
        " series: takes of noise that is slow to save, until the last scan ends, _saved until all files are complete",
        figures,
    )


if __name__ == "__main__":
    main()
