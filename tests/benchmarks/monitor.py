"""The online monitor: from a frame's last byte to its picture at a viewer, what the monitor costs, and what ten viewers
cost the scan.

Viewers are processes with plain web sockets that decode every picture to an array (no browser; what a browser needs to
draw it is not in the figures). Frames of 1 Mpx at ``--rate-hz`` for the delay; 128 x 128 at 1000 frames/s with four
ROIs for all else. ``--seconds`` is the length of the series in which ten viewers watch, and the memory is watched.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
from _harness import arguments, percentiles_ms, report, run_session, running_stack

from lima2_bliss.stack import Stack

VIEWERS = 10
#: The delay is taken without the first pictures: the monitor has to open the scan.
_WARM = 2

CODE = """
import subprocess, urllib.request
det = simulator
det.reset_settings()
det.detector["generator.type"] = "diffraction"

class Viewers:
    def __init__(self, number, max_px):
        self.process = subprocess.Popen(
            [sys.executable, VIEWER, ADDRESS, str(number), str(max_px)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
    def __enter__(self):
        assert self.process.stdout.readline().strip() == "ready"
        self.seen = []
        return self
    def __exit__(self, *_):
        self.seen = json.loads(self.process.communicate(timeout=60)[0])

def cpu():
    with open(f"/proc/{MONITOR}/stat") as stat:
        user, system = stat.read().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / CLOCK

def fetches():
    with urllib.request.urlopen(ADDRESS + "api/health") as answer:
        return json.load(answer)["pictures_fetched"]

def series(frames, rate_hz, viewers, name):
    with viewers:
        begin_cpu, begin_fetches, begin = cpu(), fetches(), time.time()
        scan, wall_s = own_pace(det, frames, 1 / rate_hz - 1e-5, name)
        used, fetched, took = cpu() - begin_cpu, fetches() - begin_fetches, time.time() - begin
        time.sleep(0.5)  # the last pictures
    status = det.last_outcome.status
    assert status.processed == frames, status
    stamps = scan.streams[f"{det.name}:timestamp"][:]
    return {"wall_s": wall_s, "frames_s": float(stamps[-1] - stamps[0]), "cpu": used / took * 100, "lost": status.lost,
            "fetches_per_s": fetched / took, "seen": viewers.seen, "begin": float(stamps[0]), "end": float(stamps[-1])}

for i in range(4):
    det.roi_counters.set(f"roi{i}", (100 + 200 * i, 300, 150, 150))
own_pace(det, 50, 1 / RATE, "first")
figures = {"delay": series(int(DELAY_S * RATE), RATE, Viewers(1, 1024), "delay")}

det.roi_counters.clear()
det.detector.update({"size.x": 128, "size.y": 128})
for i in range(4):
    det.roi_counters.set(f"roi{i}", (10 + 20 * i, 30, 15, 15))
own_pace(det, 500, 0.001, "second")
figures["alone"], figures["watched"] = [], []
for turn in range(PAIRS):
    order = (("alone", 0), ("watched", 10))
    for kind, number in order if turn % 2 == 0 else order[::-1]:
        figures[kind].append(series(FRAMES, 1000, Viewers(number, 1024), kind))
figures["one"] = series(FRAMES, 1000, Viewers(1, 1024), "one")
figures["long"] = series(int(SECONDS * 1000), 1000, Viewers(10, 1024), "long")
answer(figures)
"""


@contextmanager
def running_monitor(stack: Stack) -> Iterator[tuple[str, int]]:
    """Address and process id of a monitor of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from lima2_bliss.monitor.cli import main; main()", "--port", "0"],
        env=stack.environment() | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1].rstrip("/") + "/", process.pid
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def watched_memory(pid: int) -> Iterator[list[tuple[float, float]]]:
    """(time, resident memory [MB]) ten times a second."""
    seen: list[tuple[float, float]] = []
    ended = threading.Event()

    def watch() -> None:
        process = psutil.Process(pid)
        while not ended.wait(0.1):
            seen.append((time.time(), process.memory_info().rss / 1e6))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        ended.set()
        watcher.join()


def growth_mb(memory: list[tuple[float, float]], begin: float, end: float) -> float:
    """Median of the last fifth of a time less that of the second fifth: the first fills what is kept."""
    times, values = np.array(memory).T
    part = (end - begin) / 5
    later = np.median(values[(times >= end - part) & (times <= end)])
    return float(later - np.median(values[(times >= begin + part) & (times <= begin + 2 * part)]))


def pictures_per_s(times: list[float], begin: float, end: float) -> float:
    """Rate of pictures that came in a time, from the first of them on."""
    there = np.array([time for time in times if begin < time < end])
    return (len(there) - 1) / (there[-1] - there[0]) if len(there) > 1 else 0.0


def main() -> None:
    options = arguments(__doc__ or "", rate_hz=100.0, delay_s=10.0, pairs=5, frames=4000, seconds=20.0)
    with running_stack("simulator") as stack, running_monitor(stack) as (address, pid):
        idle_begin, idle_cpu = time.monotonic(), sum(psutil.Process(pid).cpu_times()[:2])
        time.sleep(3)
        idle = (sum(psutil.Process(pid).cpu_times()[:2]) - idle_cpu) / (time.monotonic() - idle_begin) * 100
        constants = {
            "VIEWER": str(Path(__file__).with_name("_monitor_viewers.py")),
            "ADDRESS": address,
            "MONITOR": pid,
            "CLOCK": 100,
            "RATE": options.rate_hz,
            "DELAY_S": options.delay_s,
            "PAIRS": options.pairs,
            "FRAMES": options.frames,
            "SECONDS": options.seconds,
        }
        code = "".join(f"{name} = {value!r}\n" for name, value in constants.items()) + CODE
        with watched_memory(pid) as memory:
            got = run_session(stack, code, timeout_s=1800 + 3 * options.seconds)
    delay, long = got["delay"], got["long"]
    ages = np.array(delay["seen"][0]["ages"])[_WARM:]
    if not len(ages):
        raise SystemExit("the viewer got no pictures; give a longer --delay-s")
    slowdown = np.median([run["wall_s"] for run in got["watched"]]) / np.median([run["wall_s"] for run in got["alone"]])
    series_s = [np.median([run["frames_s"] for run in got[kind]]) for kind in ("watched", "alone")]
    per_viewer = [
        pictures_per_s(one["images"], run["begin"], run["end"]) for run in got["watched"] for one in run["seen"]
    ]
    troubles = {text for run in (delay, long, *got["watched"]) for one in run["seen"] for text in one["troubles"]}
    for text in sorted(troubles):
        print(f"told to viewers: {text}", file=sys.stderr)
    frame_to_screen = {f"frame_to_screen_{name}": value for name, value in percentiles_ms(ages).items()}
    report(
        options,
        f"online monitor: {options.rate_hz:g} frames/s of 1 Mpx; 1000 frames/s of 128 x 128 with {VIEWERS} viewers",
        {
            **frame_to_screen,
            "pictures": len(ages),
            "cpu_percent": delay["cpu"] / options.rate_hz * 100,
            "cpu_percent_small": got["one"]["cpu"] / 10,
            "cpu_percent_10_viewers": float(np.median([run["cpu"] for run in got["watched"]])) / 10,
            "idle_cpu_percent": idle,
            "viewers_10_scan_slowdown": float(slowdown),
            "viewers_10_series_slowdown": float(series_s[0] / series_s[1]),
            "alone_frames_per_s": options.frames / float(series_s[1]),
            "updates_per_s": float(np.median(per_viewer)),
            "updates_per_s_slowest": float(np.min(per_viewer)),
            "fetches_per_s_1_viewer": got["one"]["fetches_per_s"],
            "fetches_per_s_10_viewers": float(np.median([run["fetches_per_s"] for run in got["watched"]])),
            "monitor_memory_mb": memory[-1][1],
            "monitor_memory_growth_mb": growth_mb(memory, long["begin"], long["end"]),
            "lost": sum(run["lost"] for run in (delay, long, *got["watched"], *got["alone"])),
        },
    )


if __name__ == "__main__":
    main()
