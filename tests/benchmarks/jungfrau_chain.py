"""One Jungfrau module, whole way: packets over UDP, correction to photons, SMX, sparse files, streams; 0.5 Mpx.

The detector is the wire simulator in its control process; it shares the cores with everything else. ``frames_per_s`` is
the highest rate at which no packet and no frame was lost over ``--seconds``; rates are tried by bisection with short
series first. ``--soak`` SECONDS runs at 80 % of it for so long, and looks at memory and counts.
"""

from __future__ import annotations

import json
import threading
import time
from typing import Any

from _harness import arguments, copy_gb_per_s, cpu_seconds, receiver_rss_mb, report, run_session, running_stack

FRAME_BYTES = 512 * 1024 * 2
PACKETS = 128

SETUP = """
from pathlib import Path

det = static.get_config().get("jungfrau")
det.reset_settings()
work = Path(SCAN_SAVING.base_path) / "jungfrau_bench"
work.mkdir(exist_ok=True)
calibration = work / "calibration.h5"
beam = {"pattern": "bragg", "images": 20, "hit_rate": 0.3, "background": 2.0}
det.detector.update({f"beam.{name}": value for name, value in beam.items()})
if not calibration.exists():
    det.command("simulated_calibration", {"path": str(calibration), "what": "calibration"})
det.detector.update({
    "correction.calibration": str(calibration), "correction.output": "float32", "correction.unit": "photons",
})
poni = work / "module.poni"
poni.write_text(det.command("poni", det.settings_now().detector))
det.processing.update({"pipeline": "smx", "nb_fifo_frames": 200, "nb_frames_buffer": 20})
det.smx.update({"poni": str(poni), "save_dense": "none", "save_accumulated": False, "threads_per_frame": 1})
det.saving.frames_per_file = 2000

def series(rate_hz, seconds, name="series"):
    frames = max(int(rate_hz * seconds), 20)
    scan, wall_s = own_pace(det, frames, 1e-5, name, 1 / rate_hz - 1e-5)
    status = det.last_outcome.status
    streams = {key.split(":", 1)[1]: stream for key, stream in scan.streams.items() if key.startswith("jungfrau:")}
    return {
        "rate_hz": rate_hz, "frames": frames, "wall_s": wall_s, "lost": status.lost,
        "processed": status.processed, "saved": status.saved, "packets": status.intake,
        "published": det.publisher.status(det.last_outcome.uuid).rows,
        "hits": int(streams["is_hit"][:].sum()),
    }
"""

SEARCH = """
low, high, tried = 0.0, None, []
rate = START
series(100, 1, "first")
while low < MOST and (high is None or high - low > 0.06 * high):
    got = series(rate, TRIAL)
    tried.append((rate, got["lost"], got["wall_s"]))
    behind = got["wall_s"] > got["frames"] / rate * 1.25 + 1.0  # the simulator itself could not send faster
    if got["lost"] or got["packets"]["packets_missing"] or behind:
        high = rate
    else:
        low = rate
    rate = (low + high) / 2 if high else rate * 1.4
answer({"rate": low, "tried": tried})
"""

CONFIRM = """
answer(series(RATE, SECONDS, "confirm"))
"""


def add_up(got: dict[str, Any]) -> None:
    """Every packet and every frame is accounted for."""
    packets = got["packets"]
    assert packets["packets_placed"] + packets["packets_missing"] == got["frames"] * PACKETS, got
    assert got["published"] == got["frames"], got
    assert packets["frames_complete"] + packets["frames_incomplete"] + got["lost"] == got["frames"], got
    assert got["processed"] == got["frames"], got
    assert got["saved"] == got["frames"], got


def confirmed(stack: Any, rate: float, seconds: float) -> tuple[dict[str, Any], dict[str, float]]:
    """The series of the highest rate without a loss, at most ``rate``, and the cores that each process took."""
    while rate > 10:
        before = {row.name: cpu_seconds(row.pid) for row in stack.status()}
        got = run_session(stack, SETUP + CONFIRM.replace("RATE", f"{rate!r}").replace("SECONDS", f"{seconds!r}"))
        after = {row.name: cpu_seconds(row.pid) for row in stack.status()}
        add_up(got)
        if not got["lost"] and not got["packets"]["packets_missing"]:
            cores = {name: (after[name] - before[name]) / got["wall_s"] for name in after}
            return got, cores
        rate *= 0.92
    raise SystemExit("no rate was found without loss")


def soak(stack: Any, rate: float, seconds: float) -> dict[str, Any]:
    """A long series: what was lost, and how the receivers' memory grew from its middle third to its last one.

    Before that buffers are touched for the first time, and the logs of results fill up to their limits.
    """
    samples: list[tuple[float, float]] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(2):
            samples.append((time.monotonic(), max(receiver_rss_mb(stack).values())))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        code = SETUP + CONFIRM.replace("RATE", f"{rate!r}").replace("SECONDS", f"{seconds!r}")
        got = run_session(stack, code, timeout_s=seconds + 300)
    finally:
        ended.set()
        watcher.join()
    add_up(got)
    during = [mb for at, mb in samples if at >= samples[-1][0] - seconds]
    third = len(during) // 3
    middle, last = max(during[third : 2 * third]), max(during[2 * third :])
    return {
        "soak_s": seconds,
        "soak_frames": got["frames"],
        "soak_lost_frames": got["lost"],
        "soak_lost_packets": got["packets"]["packets_missing"],
        "soak_rss_mb": last,
        "soak_rss_growth_mb": last - middle,
    }


def main() -> None:
    options = arguments(__doc__ or "", seconds=30.0, trial_s=4.0, start_hz=150.0, most_hz=5000.0, soak=0.0)
    with running_stack("jungfrau") as stack:
        words = {"START": options.start_hz, "TRIAL": options.trial_s, "MOST": options.most_hz}
        search = SEARCH
        for word, value in words.items():
            search = search.replace(word, f"{value!r}")
        found = run_session(stack, SETUP + search, timeout_s=1200)
        got, cores = confirmed(stack, found["rate"], options.seconds)
        long = soak(stack, 0.8 * got["rate_hz"], options.soak) if options.soak else {}
    busy = max(cores, key=lambda name: cores[name])
    report(
        options,
        f"Jungfrau chain: {got['frames']} frames of one module, UDP to sparse files and streams",
        {
            "frames_per_s": got["rate_hz"],
            "lost_packets": got["packets"]["packets_missing"],
            "gb_per_s": got["rate_hz"] * FRAME_BYTES / 1e9,
            "memcpy_ratio": got["rate_hz"] * FRAME_BYTES / 1e9 / copy_gb_per_s(),
            "hit_rate": got["hits"] / got["frames"],
            "cores_all": sum(cores.values()),
            "limit": f"{busy} takes {cores[busy]:.2f} cores",
            "cores": json.dumps({name: round(value, 2) for name, value in cores.items() if value > 0.02}),
            **long,
        },
    )


if __name__ == "__main__":
    main()
